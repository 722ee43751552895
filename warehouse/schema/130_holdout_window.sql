-- The holdout is 7 days for strategies on bars of up to an hour and longer for those on 4h and 1d, so its name no longer
-- tells its length. Rows of an older system have no version and keep their names.
UPDATE research.strategy_scores SET "window" = 'holdout' WHERE version IS NOT NULL AND "window" = '7d';
COMMENT ON COLUMN research.strategy_scores."window" IS 'the window: holdout, or by its length the search window before it (search_28d); rows imported from an older system: 24h, 7d, all; an SQL keyword: quote it';
COMMENT ON COLUMN research.strategy_backtest_results.backtest_period IS 'length of the window, such as 7d, or 90d for strategies on 4h and 1d';
COMMENT ON COLUMN research.evidence.author_may_know IS 'whether a model that designed or tuned the strategy, or the prompt of its design, may know days of this holdout: it then counts for nothing, only forward days do; null if no model had a part in it, or if the market is synthetic and no prompt told of it';
