-- Names two tables and three columns by the words of GLOSSARY.md: expected for promise, holdout for exam. The views of the
-- old names have the old columns as well, so that existing queries keep working.
-- DuckLake cannot rename a table and give its name to a view in one transaction: the rows are copied.
CREATE TABLE research.drift_tests (
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    activated_at TIMESTAMPTZ NOT NULL,
    metric VARCHAR NOT NULL,
    expected DOUBLE,
    expected_se DOUBLE,
    forward DOUBLE,
    difference DOUBLE,
    effect DOUBLE,
    low DOUBLE,
    high DOUBLE,
    p DOUBLE,
    q DOUBLE,
    trades INTEGER,
    rows INTEGER,
    days DOUBLE NOT NULL,
    expected_days DOUBLE,
    minimum_detectable DOUBLE,
    decision VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    snapshot_id BIGINT,
    run_id VARCHAR NOT NULL
);
INSERT INTO research.drift_tests
SELECT as_of, kind, name, version, activated_at, metric, promise, promise_se, forward, difference, effect, low, high, p, q,
    trades, "rows", days, promise_days, minimum_detectable, decision, reason, snapshot_id, run_id
FROM research.drift;
DROP TABLE research.drift;
COMMENT ON TABLE research.drift_tests IS 'Nightly drift tests of everything deployed: expected value, forward value, and whether the difference is significant.';
COMMENT ON COLUMN research.drift_tests.as_of IS 'evaluation date, a midnight (UTC); later data was not read';
COMMENT ON COLUMN research.drift_tests.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.drift_tests.name IS 'name of the strategy, model or ensemble';
COMMENT ON COLUMN research.drift_tests.version IS 'its version; for models and ensembles the version in force';
COMMENT ON COLUMN research.drift_tests.activated_at IS 'start of paper trading, without a position (UTC)';
COMMENT ON COLUMN research.drift_tests.metric IS 'net_return (mean hourly net return, a fraction), accuracy (share of right predictions), log_loss (natural units, lower is better) or features (distance of the model input that shifted most: root mean square distance of its shares below the nine deciles of the training window, 0 to 1)';
COMMENT ON COLUMN research.drift_tests.expected IS 'expected value, estimated at activation in the unit of the metric: from the holdout for strategies, from held-out data for models; for features the mean distance by chance';
COMMENT ON COLUMN research.drift_tests.expected_se IS 'standard error of the expected value, from blocks of 24 hours; for features the standard deviation of the distance by chance';
COMMENT ON COLUMN research.drift_tests.forward IS 'estimate for the forward period, in the unit of the metric';
COMMENT ON COLUMN research.drift_tests.difference IS 'shortfall against the expected value: above 0 is worse than expected; for features the excess distance';
COMMENT ON COLUMN research.drift_tests.effect IS 'difference over the larger of |expected| and expected_se; the threshold is 0.1';
COMMENT ON COLUMN research.drift_tests.low IS 'lower end of the 90 % bootstrap interval of difference';
COMMENT ON COLUMN research.drift_tests.high IS 'upper end of the 90 % bootstrap interval of difference';
COMMENT ON COLUMN research.drift_tests.p IS 'one-sided p-value of a difference of 0 or less; null where insufficient';
COMMENT ON COLUMN research.drift_tests.q IS 'p adjusted by Benjamini and Hochberg over all tests of the evaluation date; the threshold is 0.1';
COMMENT ON COLUMN research.drift_tests.trades IS 'closed trades of the forward period; null for metrics of predictions';
COMMENT ON COLUMN research.drift_tests."rows" IS 'predictions of the forward period; for features its bars; null for net_return';
COMMENT ON COLUMN research.drift_tests.days IS 'days of the forward period';
COMMENT ON COLUMN research.drift_tests.expected_days IS 'days of data behind the expected value; for features those of the training window';
COMMENT ON COLUMN research.drift_tests.minimum_detectable IS 'smallest difference that this test, as one of its evaluation date, would find with a probability of 80 %';
COMMENT ON COLUMN research.drift_tests.decision IS 'drift, steady or insufficient';
COMMENT ON COLUMN research.drift_tests.reason IS 'reason of the decision, in words';
COMMENT ON COLUMN research.drift_tests.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN research.drift_tests.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.holdout_outcomes (
    as_of TIMESTAMPTZ NOT NULL,
    stage VARCHAR NOT NULL,
    designer VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    score DOUBLE,
    trades INTEGER,
    sharpe DOUBLE,
    parent_score DOUBLE,
    rank INTEGER,
    dsr DOUBLE,
    supported BOOLEAN,
    accepted BOOLEAN NOT NULL,
    replaces VARCHAR,
    reason VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
INSERT INTO research.holdout_outcomes
SELECT as_of, stage, designer, name, version, score, trades, sharpe, parent_score, rank, dsr, supported, accepted, replaces,
    reason, run_id
FROM research.exam_outcomes;
DROP TABLE research.exam_outcomes;
COMMENT ON TABLE research.holdout_outcomes IS 'Result of each finalist on the holdout, which it takes once.';
COMMENT ON COLUMN research.holdout_outcomes.as_of IS 'as-of of the cycle (UTC), end of the holdout';
COMMENT ON COLUMN research.holdout_outcomes.stage IS 'tuning or design';
COMMENT ON COLUMN research.holdout_outcomes.designer IS 'claude, search, tuner or drift';
COMMENT ON COLUMN research.holdout_outcomes.name IS 'name of the strategy';
COMMENT ON COLUMN research.holdout_outcomes.version IS 'its version';
COMMENT ON COLUMN research.holdout_outcomes.score IS 'score on the holdout, which no earlier step read; null without trades, or if it was not run';
COMMENT ON COLUMN research.holdout_outcomes.trades IS 'number of trades on the holdout';
COMMENT ON COLUMN research.holdout_outcomes.sharpe IS 'Sharpe ratio on the holdout, annualised over 365 days';
COMMENT ON COLUMN research.holdout_outcomes.parent_score IS 'score on the same holdout of the version that a tuned one would replace';
COMMENT ON COLUMN research.holdout_outcomes.rank IS 'place in the ranking; null if it was not ranked';
COMMENT ON COLUMN research.holdout_outcomes.dsr IS 'deflated Sharpe ratio; null with fewer than ten independent episodes of trades, three winners or three losers among them';
COMMENT ON COLUMN research.holdout_outcomes.supported IS 'whether dsr is at least 0.95; informational, does not affect the ranking';
COMMENT ON COLUMN research.holdout_outcomes.accepted IS 'whether it is active from this cycle on';
COMMENT ON COLUMN research.holdout_outcomes.replaces IS 'name of the strategy that it replaces; null if there was room, or if it was not accepted';
COMMENT ON COLUMN research.holdout_outcomes.reason IS 'why it was accepted or not, in words';
COMMENT ON COLUMN research.holdout_outcomes.run_id IS 'Dagster run that wrote the row';

DELETE FROM meta.table_keys WHERE table_name IN ('research.drift', 'research.exam_outcomes');
INSERT INTO meta.table_keys VALUES
    ('research.drift_tests', ['as_of', 'kind', 'name', 'version', 'activated_at', 'metric']),
    ('research.holdout_outcomes', ['as_of', 'name', 'version']);
