-- The score is of the unit replay: leverage 1, sizes relative to the largest, PnL over fixed capital. What the strategy
-- declares as size and leverage is a second replay, shown beside it. Rows in which declared_pnl_pct is null are older:
-- they are of one replay that compounded with the declared size and leverage.
ALTER TABLE research.strategy_backtest_results ADD COLUMN coverage DOUBLE;
ALTER TABLE research.strategy_backtest_results ADD COLUMN declared_pnl_pct DOUBLE;
ALTER TABLE research.strategy_backtest_results ADD COLUMN declared_drawdown DOUBLE;
ALTER TABLE research.strategy_backtest_results ADD COLUMN declared_liquidations INTEGER;
ALTER TABLE research.strategy_backtest_results ADD COLUMN ruined INTEGER;
ALTER TABLE research.strategy_backtest_results ADD COLUMN largest_size DOUBLE;
COMMENT ON TABLE research.strategy_backtest_results IS 'Results of strategies in the exam window: one row for each lane (symbol, timeframe), and one pooled row with symbol * and timeframe *. Score and metrics are of the unit replay: leverage 1, sizes relative to the largest that the strategy asks for, PnL over fixed capital; rows whose declared_pnl_pct is null are older and of one compounding replay with the declared size and leverage.';
COMMENT ON COLUMN research.strategy_backtest_results.coverage IS 'share of the window''s bars on which the lane could trade, 0 to 1: those that exist and are not flagged; of all scored lanes'' bars in the pooled row';
COMMENT ON COLUMN research.strategy_backtest_results.declared_pnl_pct IS 'return with the size and leverage that the strategy declares, compounding, in percent; mean of the lanes in the pooled row';
COMMENT ON COLUMN research.strategy_backtest_results.declared_drawdown IS 'largest fall of equity from a peak with the declared size and leverage, as a fraction, 0 to 1';
COMMENT ON COLUMN research.strategy_backtest_results.declared_liquidations IS 'number of positions liquidated with the declared size and leverage';
COMMENT ON COLUMN research.strategy_backtest_results.ruined IS 'number of lanes of which the declared size and leverage leave 1 % of the capital or less at some full hour; above 0 the version is ranked last';
COMMENT ON COLUMN research.strategy_backtest_results.largest_size IS 'largest size times leverage that the strategy asks for in the window: what counts as 1 in the unit replay, here and in the forward ledger';
COMMENT ON COLUMN research.strategy_backtest_results.sharpe IS 'Sharpe ratio of the PnL of each hour over fixed capital, annualised over 365 days; null where it has no variance';
COMMENT ON COLUMN research.strategy_backtest_results.max_drawdown IS 'largest fall of the sum of PnL from its peak, as a fraction of the capital, 0 to 1';
COMMENT ON COLUMN research.strategy_backtest_results.total_pnl_pct IS 'sum of net PnL over the window without leverage, in percent of the capital; not compounded';
COMMENT ON COLUMN research.strategy_backtest_results.turnover IS 'traded notional, as a multiple of the capital';
COMMENT ON COLUMN research.strategy_backtest_results.fees_pct IS 'fees paid, in percent of the capital';
COMMENT ON COLUMN research.strategy_backtest_results.slippage_pct IS 'slippage paid, in percent of the capital';
COMMENT ON COLUMN research.strategy_backtest_results.funding_pct IS 'funding paid (negative: received), in percent of the capital';

ALTER TABLE ml.ml_model_results ADD COLUMN coverage DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN declared_pnl_pct DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN declared_drawdown DOUBLE;
ALTER TABLE ml.ml_model_results ADD COLUMN declared_liquidations INTEGER;
ALTER TABLE ml.ml_model_results ADD COLUMN ruined INTEGER;
COMMENT ON COLUMN ml.ml_model_results.coverage IS 'share of the bars of the lanes on which the model could trade, 0 to 1';
COMMENT ON COLUMN ml.ml_model_results.declared_pnl_pct IS 'return where each trade takes the whole equity and results compound, in percent; mean of the lanes';
COMMENT ON COLUMN ml.ml_model_results.declared_drawdown IS 'largest fall of that equity from a peak, as a fraction, 0 to 1';
COMMENT ON COLUMN ml.ml_model_results.declared_liquidations IS 'number of positions liquidated there';
COMMENT ON COLUMN ml.ml_model_results.ruined IS 'number of lanes of which 1 % of the capital or less is left there; above 0 the model is ranked last';
COMMENT ON COLUMN ml.ml_model_results.sharpe IS 'Sharpe ratio of the PnL of each hour over fixed capital, annualised over 365 days; null where it has no variance';
COMMENT ON COLUMN ml.ml_model_results.max_drawdown IS 'largest fall of the sum of PnL from its peak, as a fraction of the capital, 0 to 1';

ALTER TABLE ml.ml_ensembles ADD COLUMN coverage DOUBLE;
ALTER TABLE ml.ml_ensembles ADD COLUMN declared_pnl_pct DOUBLE;
ALTER TABLE ml.ml_ensembles ADD COLUMN declared_drawdown DOUBLE;
ALTER TABLE ml.ml_ensembles ADD COLUMN declared_liquidations INTEGER;
ALTER TABLE ml.ml_ensembles ADD COLUMN ruined INTEGER;
COMMENT ON COLUMN ml.ml_ensembles.coverage IS 'share of the bars of the lanes on which the ensemble could trade, 0 to 1';
COMMENT ON COLUMN ml.ml_ensembles.declared_pnl_pct IS 'return where each trade takes the whole equity and results compound, in percent; mean of the lanes';
COMMENT ON COLUMN ml.ml_ensembles.declared_drawdown IS 'largest fall of that equity from a peak, as a fraction, 0 to 1';
COMMENT ON COLUMN ml.ml_ensembles.declared_liquidations IS 'number of positions liquidated there';
COMMENT ON COLUMN ml.ml_ensembles.ruined IS 'number of lanes of which 1 % of the capital or less is left there; above 0 the ensemble is ranked last';
COMMENT ON COLUMN ml.ml_ensembles.backtest_sharpe IS 'Sharpe ratio of the PnL of each hour over fixed capital on the holdout, annualised over 365 days; null where it has no variance';
COMMENT ON COLUMN ml.ml_ensembles.max_drawdown IS 'largest fall of the sum of PnL from its peak, as a fraction of the capital, 0 to 1';

COMMENT ON TABLE research.equity IS 'Pooled capital and PnL of what is ranked, in the unit replay, at full hours of the exam window: the difference of two hours is the net return of the time between. Rows of results whose declared_pnl_pct is null are compounded equity.';
COMMENT ON COLUMN research.equity.equity IS 'capital and the sum of net PnL, as a multiple of the fixed capital; not compounded';
COMMENT ON COLUMN research.active_set.equity IS 'mean of the members'' capital and PnL, capital = 1; not compounded';
COMMENT ON COLUMN research.forward_equity.net_return IS 'net PnL of the hour in the unit replay, a fraction of the fixed capital';
COMMENT ON COLUMN research.forward_equity.equity IS 'capital and the sum of net PnL since activation, as a multiple of the fixed capital; not compounded';
COMMENT ON COLUMN research.forward_runs.total_pnl_pct IS 'sum of the ledger''s net PnL since activation, in percent of the capital, not compounded; null while there is none';
COMMENT ON COLUMN research.strategy_scores.total_pnl_pct IS 'sum of net PnL without leverage, in percent of the capital; not compounded';
COMMENT ON COLUMN research.strategy_scores.max_drawdown_pct IS 'largest fall of the sum of PnL from its peak, in percent of the capital';
