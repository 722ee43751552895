-- Hourly equity of $names on the holdouts as of ($after, $until], and whether a bar closed in each hour.
SELECT kind, name, version, as_of, ts, equity, coalesce(with_bars, true) AS with_bars
FROM research.equity
WHERE list_contains($names, name) AND as_of > $after AND as_of <= $until
ORDER BY as_of, ts
