-- A book that drifts is tuned as a strategy is.
COMMENT ON COLUMN research.retunes.kind IS 'strategy, model or book';
