-- What models promise and keep: calibration, what each input is worth, and the tuning of those that drift.
ALTER TABLE ml.ml_model_results ADD COLUMN base_rate DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN calibration_error DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN calibration_slope DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN calibration_intercept DOUBLE;
COMMENT ON COLUMN ml.ml_model_results.base_rate IS 'probability that the naive baseline gives to the event, 0 to 1; from the training rows alone';
COMMENT ON COLUMN ml.ml_model_results.calibration_error IS 'expected calibration error in the holdout: mean distance between what was said and what happened, over ten groups of equal size, 0 to 1';
COMMENT ON COLUMN ml.ml_model_results.calibration_slope IS 'slope of the event on the predicted log-odds in the holdout: 1 is calibrated, below 1 says too much; null without variance';
COMMENT ON COLUMN ml.ml_model_results.calibration_intercept IS 'its intercept, log-odds: 0 is calibrated, above 0 says too little';

ALTER TABLE ml.ml_ensembles ADD COLUMN definition VARCHAR;
COMMENT ON COLUMN ml.ml_ensembles.definition IS 'everything that decides a prediction, as JSON: members'' folders and versions, weights, calibration, threshold';

CREATE TABLE ml.feature_importance (
    model_name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    feature VARCHAR NOT NULL,
    importance DOUBLE NOT NULL,
    importance_sd DOUBLE NOT NULL,
    folds INTEGER NOT NULL,
    folds_positive INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    suggestion VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE ml.feature_importance IS 'What each input of a model is worth on its validation folds, by permutation, and which might be dropped.';
COMMENT ON COLUMN ml.feature_importance.model_name IS 'name of the model';
COMMENT ON COLUMN ml.feature_importance.version IS 'version of the model';
COMMENT ON COLUMN ml.feature_importance.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN ml.feature_importance.feature IS 'name of the input';
COMMENT ON COLUMN ml.feature_importance.importance IS 'mean over folds of the rise in log-loss when the input''s values are shuffled, nats; above 0 is useful';
COMMENT ON COLUMN ml.feature_importance.importance_sd IS 'standard deviation of that rise over folds, nats';
COMMENT ON COLUMN ml.feature_importance.folds IS 'number of validation folds';
COMMENT ON COLUMN ml.feature_importance.folds_positive IS 'number of folds in which shuffling did harm: stability';
COMMENT ON COLUMN ml.feature_importance.rank IS 'place by importance among the model''s inputs, from 1';
COMMENT ON COLUMN ml.feature_importance.suggestion IS 'keep or drop; a suggestion for people and for tuning, nothing is dropped by it alone';
COMMENT ON COLUMN ml.feature_importance.reason IS 'why, in one line';
COMMENT ON COLUMN ml.feature_importance.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('ml.feature_importance', ['model_name', 'as_of', 'feature']);

CREATE TABLE ml.model_tuning (
    id VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    model_name VARCHAR NOT NULL,
    action VARCHAR NOT NULL,
    decision VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    champion VARCHAR,
    challenger VARCHAR,
    spec VARCHAR,
    trials INTEGER NOT NULL,
    champion_log_loss DOUBLE,
    challenger_log_loss DOUBLE,
    gain DOUBLE,
    gain_low DOUBLE,
    judged_start TIMESTAMPTZ,
    judged_end TIMESTAMPTZ,
    rows_judged INTEGER,
    snapshot_id BIGINT,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE ml.model_tuning IS 'What was done about models that drift, and whether a challenger took the champion''s place.';
COMMENT ON COLUMN ml.model_tuning.id IS 'hash of model and as-of';
COMMENT ON COLUMN ml.model_tuning.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN ml.model_tuning.model_name IS 'name of the model';
COMMENT ON COLUMN ml.model_tuning.action IS 'retrained (on new data, first) or searched (hyper-parameters, when drift persists)';
COMMENT ON COLUMN ml.model_tuning.decision IS 'kept (the champion stays) or adopted (the challenger trains from the next cycle on)';
COMMENT ON COLUMN ml.model_tuning.reason IS 'why, in one line';
COMMENT ON COLUMN ml.model_tuning.champion IS 'version of the champion in this cycle';
COMMENT ON COLUMN ml.model_tuning.challenger IS 'fingerprint of the challenger''s specification; null where none was searched for';
COMMENT ON COLUMN ml.model_tuning.spec IS 'the challenger''s specification as JSON: inputs and hyper-parameters';
COMMENT ON COLUMN ml.model_tuning.trials IS 'specifications tried in the search, the champion''s own included; 0 where none was searched for';
COMMENT ON COLUMN ml.model_tuning.champion_log_loss IS 'log-loss of the champion on the judged days, which neither has seen, nats';
COMMENT ON COLUMN ml.model_tuning.challenger_log_loss IS 'log-loss of the challenger on the same rows, nats';
COMMENT ON COLUMN ml.model_tuning.gain IS 'champion_log_loss less challenger_log_loss, nats; above 0 the challenger is better';
COMMENT ON COLUMN ml.model_tuning.gain_low IS 'lower end of its 90 % block-bootstrap interval, nats: above 0 is better at the one-sided 5 % level';
COMMENT ON COLUMN ml.model_tuning.judged_start IS 'first decision of the judged days (UTC)';
COMMENT ON COLUMN ml.model_tuning.judged_end IS 'end of the judged days (UTC)';
COMMENT ON COLUMN ml.model_tuning.rows_judged IS 'number of judged rows with a label';
COMMENT ON COLUMN ml.model_tuning.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN ml.model_tuning.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('ml.model_tuning', ['id']);
