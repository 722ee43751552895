-- What two columns of the results say now: shorts without leverage are liquidated as well, and exposure is time.
COMMENT ON COLUMN research.strategy_backtest_results.liquidation_price IS 'prices by which positions were liquidated: mark, last, or mixed where mark prices are missing on some bars; last where nothing was short or above 1x leverage';
COMMENT ON COLUMN research.strategy_backtest_results.exposure IS 'share of the time with a position, 0 to 1; a bar inside which a position ends counts whole';
