-- A model that fails to be trained is a row, too: rejected, with the reason and without numbers.
ALTER TABLE ml.ml_model_results ADD COLUMN reason VARCHAR;
COMMENT ON COLUMN ml.ml_model_results.reason IS 'why the model was rejected: leakage checks that it failed, or the error that stopped its training; null where it was not, and in rows written before the column was there';
