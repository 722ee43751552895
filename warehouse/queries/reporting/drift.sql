-- The last drift tests as of $as_of, drift first, then the most significant.
SELECT
    as_of, kind, name, version, activated_at, metric, expected, expected_se, forward, difference, effect, low, high, p, q,
    trades, rows, days, expected_days, minimum_detectable, decision, reason
FROM research.drift_tests
WHERE as_of <= $as_of
QUALIFY as_of = max(as_of) OVER ()
ORDER BY
    decision = 'drift' DESC, decision = 'steady' DESC, q NULLS LAST, p NULLS LAST, kind DESC, name, metric,
    activated_at, version
