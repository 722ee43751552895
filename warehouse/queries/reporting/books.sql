-- The newest ranking of books at or before $as_of, best first, each with its result on the holdout, its evidence and author.
SELECT
    r.as_of, r.rank, r.name, r.version, r.status, r.reason, s.author, b.* EXCLUDE (as_of, name, version, status, run_id),
    e.psr, e.dsr, e.supported, e.author_may_know, e.trials, e.search_trials, e.episodes, e.losers, e.pbo,
    e.expected_sharpe, e.expected_low, e.expected_high, e.expected_windows,
    e.volume_share_largest, e.volume_warning
FROM research.ranking_history AS r
JOIN research.book_backtest_results AS b USING (as_of, name, version)
LEFT JOIN research.evidence AS e ON e.as_of = r.as_of AND e.kind = r.kind AND e.name = r.name AND e.version = r.version
LEFT JOIN research.books AS s ON s.name = r.name AND s.version = r.version
WHERE r.kind = 'book' AND r.as_of = (SELECT max(as_of) FROM research.ranking_history WHERE kind = 'book' AND as_of <= $as_of)
ORDER BY r.rank, r.name, r.version
