-- Each record of the forward ledger that is tracked or was, with its evidence by the newest night up to $as_of.
SELECT
    kind, name, version, activated_at,
    count(net_return) AS days,
    100 * sum(net_return) AS total_pnl_pct,
    max_by(capital, day) AS capital,
    max_by(capital_worse, day) AS capital_worse,
    bool_or(broken) AS broken,
    max_by(confirmed, day) AS confirmed,
    min(day) FILTER (WHERE confirmed) AS first_confirmed,
    max(as_of) AS night
FROM research.evidence_daily
WHERE as_of <= $as_of
GROUP BY ALL
ORDER BY confirmed DESC, capital DESC, kind, name, version, activated_at
