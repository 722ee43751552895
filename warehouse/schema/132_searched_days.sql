-- The bound on forward losses rests on all backtests before activation, not on holdouts alone.
ALTER TABLE research.strategy_scores ADD COLUMN day_deviation DOUBLE;
ALTER TABLE research.strategy_scores ADD COLUMN day_worst DOUBLE;
ALTER TABLE research.strategy_scores ADD COLUMN day_best DOUBLE;
ALTER TABLE research.proposals ADD COLUMN search_day_deviation DOUBLE;
ALTER TABLE research.proposals ADD COLUMN search_day_worst DOUBLE;
ALTER TABLE research.proposals ADD COLUMN search_day_best DOUBLE;
COMMENT ON COLUMN research.strategy_scores.day_deviation IS 'standard deviation of a daily net return in the search window, fraction of fixed capital; null on the holdout, in older rows and without a whole day';
COMMENT ON COLUMN research.strategy_scores.day_worst IS 'smallest daily net return in the search window, fraction; null as day_deviation';
COMMENT ON COLUMN research.strategy_scores.day_best IS 'largest daily net return in the search window, fraction; null as day_deviation';
COMMENT ON COLUMN research.proposals.search_day_deviation IS 'standard deviation of a daily net return of its version in the search window, fraction of fixed capital; null without a version, in older rows and without a whole day';
COMMENT ON COLUMN research.proposals.search_day_worst IS 'smallest daily net return of its version in the search window, fraction; null as search_day_deviation';
COMMENT ON COLUMN research.proposals.search_day_best IS 'largest daily net return of its version in the search window, fraction; null as search_day_deviation';
COMMENT ON COLUMN research.evidence_daily.loss_bound IS 'loss that no five days are assumed to exceed, a fraction, from the days of all its holdouts and search windows before activation; fixed at activation';
