-- The days of records of $kinds that other nights than $as_of wrote.
SELECT kind, name, version, activated_at, day, net_return
FROM research.evidence_daily
WHERE list_contains($kinds, kind) AND as_of <> $as_of
ORDER BY ALL
