-- Results of the books of the cycle as of $as_of with the evidence beside each.
SELECT r.* EXCLUDE (run_id), e.dsr, e.supported
FROM research.book_backtest_results AS r
LEFT JOIN research.evidence AS e
    ON e.as_of = r.as_of AND e.kind = 'book' AND e.name = r.name AND e.version = r.version
WHERE r.as_of = $as_of
ORDER BY r.name, r.version
