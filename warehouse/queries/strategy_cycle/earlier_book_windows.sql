-- Ratios of all versions of books in the holdouts of the cycles before $as_of, each with its standard error.
SELECT
    r.name, r.version, r.as_of, r.window_start, r.window_end, r.sharpe, r.turnover,
    coalesce(e.sharpe_error, r.sharpe_se) AS error
FROM research.book_backtest_results AS r
LEFT JOIN research.evidence AS e
    ON e.as_of = r.as_of AND e.kind = 'book' AND e.name = r.name AND e.version = r.version
WHERE r.as_of < $as_of AND r.as_of >= $since AND r.sharpe IS NOT NULL
ORDER BY r.as_of, r.name, r.version
