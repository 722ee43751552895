-- The last hour up to $as_of of each record of the forward ledger that began at one of $starts, its equity then, and how
-- many entries and trades keys up to $as_of wrote.
WITH entries AS (
    SELECT kind, name, version, activated_at, count(*) AS entries
    FROM research.forward_entries
    WHERE activated_at IN (SELECT unnest($starts)) AND as_of <= $as_of
    GROUP BY ALL
), trades AS (
    SELECT kind, name, version, activated_at, count(*) AS trades
    FROM research.forward_trades
    WHERE activated_at IN (SELECT unnest($starts)) AND as_of <= $as_of
    GROUP BY ALL
)
SELECT
    kind, name, version, activated_at, max(ts) AS horizon, max_by(equity, ts) AS equity,
    any_value(coalesce(entries, 0)) AS entries,
    any_value(coalesce(trades, 0)) AS trades
FROM research.forward_equity
LEFT JOIN entries USING (kind, name, version, activated_at)
LEFT JOIN trades USING (kind, name, version, activated_at)
WHERE activated_at IN (SELECT unnest($starts)) AND ts <= $as_of
GROUP BY kind, name, version, activated_at
ORDER BY ALL
