-- What a model's folder must hold to be the one that this warehouse wrote: the folder alone can be signed anew by anybody.
ALTER TABLE ml.ml_model_results ADD COLUMN fingerprint VARCHAR;
COMMENT ON COLUMN ml.ml_model_results.fingerprint IS 'SHA-256 of the model file and config.json, of which version is the first twelve digits; a folder with another one is not loaded; null in rows written before the column was there';
