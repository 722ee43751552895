-- The runs that the forward ledger tracked at $as_of, by its last key at or before that time; without what was archived and
-- is followed for its evidence alone.
SELECT kind, name, version, activated_at
FROM research.forward_runs
WHERE state = 'tracked'
    AND as_of = (SELECT max(as_of) FROM research.forward_runs WHERE as_of <= $as_of)
    AND NOT coalesce(archived, false)
    AND (ends_at IS NULL OR ends_at > $as_of)
ORDER BY kind, name, version, activated_at
