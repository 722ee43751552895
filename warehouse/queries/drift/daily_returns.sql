-- Net return of each whole day up to $as_of, of each record of the forward ledger; null where no lane had a bar.
-- The record of a strategy or a book is that of its version; that of a model or ensemble goes on through its versions. A
-- day that the ledger has not tracked to its end is left out: its hours are still to come.
WITH hours AS (
    SELECT
        kind, name, activated_at, ts, net_return, coalesce(with_bars, true) AS with_bars,
        CASE kind
            WHEN 'strategy' THEN version
            WHEN 'book' THEN version
            ELSE first_value(version) OVER (PARTITION BY kind, name, activated_at ORDER BY ts)
        END AS version,
        time_bucket(INTERVAL 1 DAY, ts - INTERVAL 1 MICROSECOND) AS day
    FROM research.forward_equity
    WHERE as_of <= $as_of AND ts <= $as_of
)
SELECT
    kind, name, version, activated_at, day,
    CASE WHEN bool_or(with_bars) THEN sum(net_return) END AS net_return
FROM hours
GROUP BY ALL
HAVING max(ts) = day + INTERVAL 1 DAY
ORDER BY ALL
