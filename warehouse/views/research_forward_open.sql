CREATE OR REPLACE VIEW research.forward_open AS
SELECT entries.* EXCLUDE (run_id, engine, snapshot_id)
FROM research.forward_entries AS entries
ANTI JOIN research.forward_trades AS trades
    ON entries.kind = trades.kind AND entries.name = trades.name AND entries.version = trades.version
    AND entries.activated_at = trades.activated_at AND entries.symbol = trades.symbol
    AND entries.timeframe = trades.timeframe AND entries.entry_ts = trades.entry_ts
ORDER BY kind, name, symbol, timeframe, entry_ts;
COMMENT ON VIEW research.forward_open IS
    'Entries of the forward ledger that are not closed yet; columns and units as in research.forward_entries.';
