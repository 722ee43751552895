-- Regressors beside classifiers, what ensembles are made from, and the ensembles.
ALTER TABLE ml.ml_model_results ADD COLUMN event VARCHAR;
ALTER TABLE ml.ml_model_results ADD COLUMN value_unit VARCHAR;
ALTER TABLE ml.ml_model_results ADD COLUMN r2 DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN mae DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN baseline_r2 DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN baseline_mae DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN skill DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN skill_low DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN skill_high DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN ungated_score DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN ungated_difference DOUBLE;
COMMENT ON COLUMN ml.ml_model_results.event IS 'what the probability is of, in words';
COMMENT ON COLUMN ml.ml_model_results.value_unit IS 'unit of the values that a regressor estimates; null for classifiers';
COMMENT ON COLUMN ml.ml_model_results.r2 IS 'coefficient of determination of a regressor in the holdout; null for classifiers';
COMMENT ON COLUMN ml.ml_model_results.mae IS 'mean absolute error of a regressor in the holdout, in value_unit';
COMMENT ON COLUMN ml.ml_model_results.baseline_r2 IS 'r2 of the naive constant (training mean, or 0 for a price)';
COMMENT ON COLUMN ml.ml_model_results.baseline_mae IS 'mae of the naive constant, in value_unit';
COMMENT ON COLUMN ml.ml_model_results.skill IS '1 less mean squared error over that of the naive constant; above 0 is better';
COMMENT ON COLUMN ml.ml_model_results.skill_low IS 'lower end of its 90 % block-bootstrap interval';
COMMENT ON COLUMN ml.ml_model_results.skill_high IS 'upper end of its 90 % block-bootstrap interval';
COMMENT ON COLUMN ml.ml_model_results.ungated_score IS 'score of the fixed strategy without the gate; null for models that trade themselves';
COMMENT ON COLUMN ml.ml_model_results.ungated_difference IS 'score less ungated_score: what the gate is worth; null where either is';
ALTER TABLE ml.predictions ADD COLUMN value DOUBLE;
ALTER TABLE ml.predictions ADD COLUMN label_value DOUBLE;
COMMENT ON COLUMN ml.predictions.value IS 'estimated value of a regressor, in the model''s value_unit; null for classifiers';
COMMENT ON COLUMN ml.predictions.label_value IS 'the value as it turned out, in the same unit; null while unknown';
COMMENT ON COLUMN ml.predictions.probability IS 'predicted probability of the model''s event (of directional models: that the price will be higher), 0 to 1';
COMMENT ON COLUMN ml.predictions.label IS 'whether the event happened, 1 or 0; null while unknown';

CREATE TABLE ml.validation_predictions (
    model_name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    symbol VARCHAR NOT NULL,
    timeframe VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    probability DOUBLE,
    event BOOLEAN,
    forward_return DOUBLE,
    run_id VARCHAR NOT NULL
);
ALTER TABLE ml.validation_predictions SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE ml.validation_predictions IS 'Predictions of models on the validation folds of their training window, each by a model that had not seen its row; what ensembles are fitted on.';
COMMENT ON COLUMN ml.validation_predictions.model_name IS 'name of the model';
COMMENT ON COLUMN ml.validation_predictions.version IS 'version of the model';
COMMENT ON COLUMN ml.validation_predictions.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN ml.validation_predictions.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN ml.validation_predictions.timeframe IS '1m, 5m or 60m';
COMMENT ON COLUMN ml.validation_predictions.ts IS 'opening time of the bar at whose close the prediction was made (UTC)';
COMMENT ON COLUMN ml.validation_predictions.probability IS 'predicted probability of the model''s event, 0 to 1; calibrated on these very rows';
COMMENT ON COLUMN ml.validation_predictions.event IS 'whether the event happened; null where it never became known';
COMMENT ON COLUMN ml.validation_predictions.forward_return IS 'what holding from the next open over the horizon returned, fraction';
COMMENT ON COLUMN ml.validation_predictions.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('ml.validation_predictions', ['model_name', 'version', 'as_of', 'symbol', 'timeframe', 'ts']);

CREATE TABLE ml.ml_ensembles (
    id VARCHAR NOT NULL,
    ensemble_name VARCHAR NOT NULL,
    "timestamp" TIMESTAMPTZ NOT NULL,
    model_list VARCHAR NOT NULL,
    weights VARCHAR NOT NULL,
    combination_method VARCHAR NOT NULL,
    accuracy DOUBLE,
    f1 DOUBLE,
    backtest_sharpe DOUBLE,
    status VARCHAR,
    as_of TIMESTAMPTZ NOT NULL,
    timeframe VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    rank INTEGER,
    artifact VARCHAR,
    members VARCHAR NOT NULL,
    member_versions VARCHAR NOT NULL,
    precision DOUBLE,
    recall DOUBLE,
    log_loss DOUBLE,
    baseline_accuracy DOUBLE,
    baseline_log_loss DOUBLE,
    log_loss_gain DOUBLE,
    log_loss_gain_low DOUBLE,
    log_loss_gain_high DOUBLE,
    better BOOLEAN,
    validation_log_loss_gain DOUBLE,
    win_rate DOUBLE,
    avg_pnl_pct DOUBLE,
    max_drawdown DOUBLE,
    total_trades INTEGER,
    score DOUBLE,
    score_win_rate DOUBLE,
    score_avg_pnl DOUBLE,
    score_sharpe DOUBLE,
    score_drawdown DOUBLE,
    holdout_start TIMESTAMPTZ,
    holdout_end TIMESTAMPTZ,
    rows_holdout INTEGER,
    snapshot_id BIGINT,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE ml.ml_ensembles IS 'Ensembles that were run on a cycle''s holdout, with their results as trading strategies.';
COMMENT ON COLUMN ml.ml_ensembles.id IS 'hash of ensemble, version and as-of';
COMMENT ON COLUMN ml.ml_ensembles.ensemble_name IS 'method, members'' types and timeframe, such as stacking_direction_price_5m';
COMMENT ON COLUMN ml.ml_ensembles."timestamp" IS 'as-of of the cycle (UTC)';
COMMENT ON COLUMN ml.ml_ensembles.model_list IS 'members, as JSON list of model folders, such as ["model_001", "model_002"]';
COMMENT ON COLUMN ml.ml_ensembles.weights IS 'weight of each member, as JSON list in the order of model_list';
COMMENT ON COLUMN ml.ml_ensembles.combination_method IS 'weighted_avg, voting or stacking';
COMMENT ON COLUMN ml.ml_ensembles.accuracy IS 'share of right classes in the holdout, 0 to 1';
COMMENT ON COLUMN ml.ml_ensembles.f1 IS 'harmonic mean of precision and recall in the holdout, 0 to 1';
COMMENT ON COLUMN ml.ml_ensembles.backtest_sharpe IS 'Sharpe ratio of the holdout''s pooled equity, annualised over 365 days; null where it has no variance';
COMMENT ON COLUMN ml.ml_ensembles.status IS 'active (among the best three) or archived';
COMMENT ON COLUMN ml.ml_ensembles.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN ml.ml_ensembles.timeframe IS '1m, 5m or 60m';
COMMENT ON COLUMN ml.ml_ensembles.version IS 'version of the ensemble: members'' versions, weights and threshold';
COMMENT ON COLUMN ml.ml_ensembles.rank IS 'place by score in its cycle, from 1';
COMMENT ON COLUMN ml.ml_ensembles.artifact IS 'file of the ensemble in the folder of models; null where it is not kept';
COMMENT ON COLUMN ml.ml_ensembles.members IS 'members'' names, as JSON list';
COMMENT ON COLUMN ml.ml_ensembles.member_versions IS 'members'' versions, as JSON list';
COMMENT ON COLUMN ml.ml_ensembles.precision IS 'share of predicted ups that were ups in the holdout, 0 to 1';
COMMENT ON COLUMN ml.ml_ensembles.recall IS 'share of ups that were predicted in the holdout, 0 to 1';
COMMENT ON COLUMN ml.ml_ensembles.log_loss IS 'log-loss in the holdout, in nats';
COMMENT ON COLUMN ml.ml_ensembles.baseline_accuracy IS 'accuracy of the naive baseline in the holdout, 0 to 1';
COMMENT ON COLUMN ml.ml_ensembles.baseline_log_loss IS 'log-loss of the naive baseline in the holdout, in nats';
COMMENT ON COLUMN ml.ml_ensembles.log_loss_gain IS 'baseline_log_loss less log_loss, nats; above 0 is better than the baseline';
COMMENT ON COLUMN ml.ml_ensembles.log_loss_gain_low IS 'lower end of its 90 % block-bootstrap interval, nats';
COMMENT ON COLUMN ml.ml_ensembles.log_loss_gain_high IS 'upper end of its 90 % block-bootstrap interval, nats';
COMMENT ON COLUMN ml.ml_ensembles.better IS 'whether the gain is above 0 at the one-sided 5 % level';
COMMENT ON COLUMN ml.ml_ensembles.validation_log_loss_gain IS 'the same gain on the validation folds, by which it was chosen for the holdout, nats';
COMMENT ON COLUMN ml.ml_ensembles.win_rate IS 'share of trades that made money after all costs, 0 to 1; null without trades';
COMMENT ON COLUMN ml.ml_ensembles.avg_pnl_pct IS 'mean net profit of a trade, in percent of its entry notional; null without trades';
COMMENT ON COLUMN ml.ml_ensembles.max_drawdown IS 'largest fall of equity from a peak, as a fraction, 0 to 1';
COMMENT ON COLUMN ml.ml_ensembles.total_trades IS 'number of trades';
COMMENT ON COLUMN ml.ml_ensembles.score IS '40 win_rate + 30 avg_pnl_pct + 20 sharpe - 10 max_drawdown; null without trades';
COMMENT ON COLUMN ml.ml_ensembles.score_win_rate IS 'term of the score: 40 times win_rate';
COMMENT ON COLUMN ml.ml_ensembles.score_avg_pnl IS 'term of the score: 30 times avg_pnl_pct';
COMMENT ON COLUMN ml.ml_ensembles.score_sharpe IS 'term of the score: 20 times sharpe';
COMMENT ON COLUMN ml.ml_ensembles.score_drawdown IS 'term of the score: minus 10 times max_drawdown';
COMMENT ON COLUMN ml.ml_ensembles.holdout_start IS 'first decision of the holdout (UTC)';
COMMENT ON COLUMN ml.ml_ensembles.holdout_end IS 'end of the holdout (UTC)';
COMMENT ON COLUMN ml.ml_ensembles.rows_holdout IS 'number of holdout rows with a label';
COMMENT ON COLUMN ml.ml_ensembles.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN ml.ml_ensembles.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('ml.ml_ensembles', ['id']);
