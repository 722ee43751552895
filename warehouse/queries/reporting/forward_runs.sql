-- Each run of the forward ledger by its last key as of $as_of, without what was archived and is followed for its evidence
-- alone.
SELECT
    as_of, kind, name, version, activated_at, ends_at, state, detail, days, trades, open_positions, total_pnl_pct,
    compared, data_revisions, version_changes, look_ahead
FROM research.forward_runs
WHERE as_of <= $as_of AND NOT coalesce(archived, false)
QUALIFY as_of = max(as_of) OVER ()
ORDER BY kind DESC, name, activated_at, version
