-- A position is closed by the last bar of its symbol, too.
COMMENT ON COLUMN research.forward_trades.exit_reason IS 'what closed it: signal, reversal, time, stop, trail, target, liquidation, or delisted where the last bar of its symbol did';
