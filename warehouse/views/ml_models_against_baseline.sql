CREATE OR REPLACE VIEW ml.models_against_baseline AS
SELECT
    as_of, model_name AS name, model_type, timeframe, version, status, rows_holdout, accuracy, baseline_accuracy,
    log_loss_gain, log_loss_gain_low, log_loss_gain_high, skill, skill_low, skill_high, better
FROM ml.ml_model_results
ORDER BY as_of DESC, better DESC NULLS LAST, log_loss_gain DESC NULLS LAST, name;
COMMENT ON VIEW ml.models_against_baseline IS
    'Each model against its naive baseline on the holdout, the latest cycle first: gain in log-loss (direction) or skill (a value) with its interval; units as in ml.ml_model_results.';
