-- What stands beside every score: how much of it could be luck, costs or the market itself.
CREATE TABLE research.evidence (
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    trials INTEGER NOT NULL,
    psr DOUBLE,
    dsr DOUBLE,
    supported BOOLEAN NOT NULL,
    expected_max_sharpe DOUBLE,
    min_track_record_hours DOUBLE,
    pbo DOUBLE,
    pbo_columns INTEGER,
    timing_p DOUBLE,
    worst_pnl_pct DOUBLE,
    best_pnl_pct DOUBLE,
    ambiguous INTEGER,
    unresolved INTEGER,
    break_even_slippage DOUBLE,
    break_even_fee DOUBLE,
    zero_cost_sharpe DOUBLE,
    hold_pnl_pct DOUBLE,
    alpha DOUBLE,
    alpha_se DOUBLE,
    beta DOUBLE,
    volume_share_median DOUBLE,
    volume_share_largest DOUBLE,
    volume_warning VARCHAR,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.evidence', ['as_of', 'kind', 'name', 'version']);
COMMENT ON TABLE research.evidence IS 'One row for each thing scored in a cycle: how far its exam result can be believed.';
COMMENT ON COLUMN research.evidence.as_of IS 'as-of of the cycle (UTC), end of the exam';
COMMENT ON COLUMN research.evidence.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.evidence.name IS 'what was scored';
COMMENT ON COLUMN research.evidence.version IS 'its version';
COMMENT ON COLUMN research.evidence.trials IS 'configurations ever run on a window that overlaps the exam';
COMMENT ON COLUMN research.evidence.psr IS 'probabilistic Sharpe ratio: probability that the true ratio is above zero, had this been the only try';
COMMENT ON COLUMN research.evidence.dsr IS 'deflated Sharpe ratio: the same after choosing the best of all tries (Bailey and Lopez de Prado 2014)';
COMMENT ON COLUMN research.evidence.supported IS 'whether dsr is at least 0.95: a label that removes nobody';
COMMENT ON COLUMN research.evidence.expected_max_sharpe IS 'hourly Sharpe ratio that the best of so many worthless tries would show';
COMMENT ON COLUMN research.evidence.min_track_record_hours IS 'hours needed for 95 % confidence that the ratio is above zero; null for a ratio of zero or less';
COMMENT ON COLUMN research.evidence.pbo IS 'probability of backtest overfitting of the whole cycle by combinatorially symmetric cross-validation, 0 to 1';
COMMENT ON COLUMN research.evidence.pbo_columns IS 'different configurations that went into pbo';
COMMENT ON COLUMN research.evidence.timing_p IS 'share of circularly shifted replays of the same signals that were at least as good, 0 to 1';
COMMENT ON COLUMN research.evidence.worst_pnl_pct IS 'pooled total where the order of events inside bars is unknown, worse replay, percent';
COMMENT ON COLUMN research.evidence.best_pnl_pct IS 'the same, better replay, percent';
COMMENT ON COLUMN research.evidence.ambiguous IS 'bars whose order of events mattered';
COMMENT ON COLUMN research.evidence.unresolved IS 'those of them that 1-minute bars did not settle';
COMMENT ON COLUMN research.evidence.break_even_slippage IS 'slippage a side at which the pooled result is zero, fraction; null where it loses without any, infinite above 5 %';
COMMENT ON COLUMN research.evidence.break_even_fee IS 'the same for the taker fee, fraction a side';
COMMENT ON COLUMN research.evidence.zero_cost_sharpe IS 'hourly Sharpe ratio without any costs';
COMMENT ON COLUMN research.evidence.hold_pnl_pct IS 'buying and holding the same lanes at the same costs, percent';
COMMENT ON COLUMN research.evidence.alpha IS 'return of a year that holding does not explain, fraction';
COMMENT ON COLUMN research.evidence.alpha_se IS 'its standard error, fraction';
COMMENT ON COLUMN research.evidence.beta IS 'hourly return for one of holding';
COMMENT ON COLUMN research.evidence.volume_share_median IS 'assumed fill (10,000 USDT a lane) as a share of its bar''s traded value, median, fraction';
COMMENT ON COLUMN research.evidence.volume_share_largest IS 'the same, largest, fraction';
COMMENT ON COLUMN research.evidence.volume_warning IS 'set where fills are above 1 % of their bar''s value';
COMMENT ON COLUMN research.evidence.run_id IS 'Dagster run that wrote the row';

ALTER TABLE ml.ml_model_results ADD COLUMN log_loss_gain DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN log_loss_gain_low DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN log_loss_gain_high DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN better BOOLEAN;
COMMENT ON COLUMN ml.ml_model_results.log_loss_gain IS 'baseline_log_loss less log_loss, nats; above 0 is better than the baseline';
COMMENT ON COLUMN ml.ml_model_results.log_loss_gain_low IS 'lower end of its 90 % block-bootstrap interval, nats';
COMMENT ON COLUMN ml.ml_model_results.log_loss_gain_high IS 'upper end of its 90 % block-bootstrap interval, nats';
COMMENT ON COLUMN ml.ml_model_results.better IS 'whether the gain is above 0 at the one-sided 5 % level';

ALTER TABLE research.trials ADD COLUMN lanes VARCHAR;
COMMENT ON COLUMN research.trials.lanes IS 'lanes that were scored, symbol:timeframe, joined by commas: choosing lanes is a try, too';
