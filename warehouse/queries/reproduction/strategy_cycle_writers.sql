-- The runs that wrote the results of the strategy cycle as of $as_of.
SELECT run_id FROM research.ranking_history WHERE as_of = $as_of AND kind = 'strategy'
UNION
SELECT run_id FROM research.strategy_backtest_results WHERE as_of = $as_of
