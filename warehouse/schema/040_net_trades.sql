-- Profit of a trade is net in every table that holds trades. Before, pnl was without fees and funding, which stand beside it.
UPDATE research.trades SET pnl = pnl - fees - funding;
UPDATE research.forward_trades SET pnl = pnl - fees - funding;
ALTER TABLE research.trades ADD COLUMN slippage DOUBLE;
COMMENT ON COLUMN research.trades.pnl IS 'net profit after fees, funding and slippage, in quote currency';
COMMENT ON COLUMN research.trades.fees IS 'fees of both sides, in quote currency; pnl is after them';
COMMENT ON COLUMN research.trades.funding IS 'funding paid (negative: received), in quote currency; pnl is after it';
COMMENT ON COLUMN research.trades.slippage IS 'slippage of both sides, in quote currency; it is in the fill prices, so pnl is after it; null in rows written before the column was there';
COMMENT ON COLUMN research.trades.pnl_pct IS 'pnl in percent of the entry notional';
COMMENT ON COLUMN research.trades.exit_reason IS 'what closed it: signal, reversal, time, stop, trail, target or liquidation; open for a position still open at the window''s end, valued at the last mark less exit costs';
COMMENT ON COLUMN research.forward_trades.pnl IS 'net profit after fees, funding and slippage, in quote currency';
COMMENT ON COLUMN research.forward_trades.fees IS 'fees of both sides, in quote currency; pnl is after them';
COMMENT ON COLUMN research.forward_trades.funding IS 'funding paid (negative: received), in quote currency; pnl is after it';
COMMENT ON COLUMN research.forward_trades.slippage IS 'slippage of both sides, in quote currency; it is in the fill prices, so pnl is after it';
COMMENT ON COLUMN research.forward_trades.pnl_pct IS 'pnl in percent of the entry notional';
