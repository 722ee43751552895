-- Pooled results of the cycle as of $as_of, with the author and the source of each version.
SELECT r.* EXCLUDE (run_id), s.author, s.source
FROM research.strategy_backtest_results AS r
LEFT JOIN (
    SELECT name, version, any_value(author) AS author, any_value(source) AS source
    FROM research.strategies
    GROUP BY ALL
) AS s ON s.name = r.strategy_name AND s.version = r.version
WHERE as_of = $as_of AND symbol = '*' AND timeframe = '*'
ORDER BY strategy_name, r.version
