-- Pooled results of the cycle as of $as_of with the evidence beside each.
SELECT r.*, e.dsr, e.supported
FROM research.strategy_backtest_results AS r
LEFT JOIN research.evidence AS e
    ON e.as_of = r.as_of AND e.kind = 'strategy' AND e.name = r.strategy_name AND e.version = r.version
WHERE r.as_of = $as_of AND r.symbol = '*'
ORDER BY r.strategy_name, r.version
