-- Pooled ratios of all versions in the holdouts of the cycles before $as_of, each with its standard error; older rows have
-- that of independent returns alone.
SELECT
    r.strategy_name AS name, r.version, r.as_of, r.window_start, r.window_end, r.sharpe, r.turnover,
    coalesce(e.sharpe_error, r.sharpe_se) AS error
FROM research.strategy_backtest_results AS r
LEFT JOIN research.evidence AS e
    ON e.as_of = r.as_of AND e.kind = 'strategy' AND e.name = r.strategy_name AND e.version = r.version
WHERE r.symbol = '*' AND r.as_of < $as_of AND r.as_of >= $since AND r.sharpe IS NOT NULL
ORDER BY r.as_of, r.strategy_name, r.version
