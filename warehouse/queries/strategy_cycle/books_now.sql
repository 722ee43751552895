-- The newest ranking of books: how many are ranked, active and supported, the best of them, and the days of the holdout.
SELECT
    r.as_of,
    count(*) AS ranked,
    count(*) FILTER (r.status = 'active') AS active,
    count(*) FILTER (e.supported) AS supported,
    min_by(r.name, r.rank) AS best,
    max(date_diff('day', b.window_start, b.window_end)) AS days
FROM research.ranking_history AS r
JOIN research.book_backtest_results AS b USING (as_of, name, version)
LEFT JOIN research.evidence AS e ON e.as_of = r.as_of AND e.kind = r.kind AND e.name = r.name AND e.version = r.version
WHERE r.kind = 'book' AND r.as_of = (SELECT max(as_of) FROM research.ranking_history WHERE kind = 'book')
GROUP BY r.as_of
