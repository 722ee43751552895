CREATE OR REPLACE VIEW research.trade_costs AS
SELECT
    as_of, kind, name, version, symbol, timeframe, side, entry_ts, exit_ts, exit_reason, quantity, entry_price, exit_price,
    pnl + fees + coalesce(slippage, 0) + funding AS pnl_before_costs, fees, slippage, funding, pnl, pnl_pct
FROM research.trades
ORDER BY as_of DESC, kind, name, version, entry_ts, symbol, timeframe;
COMMENT ON VIEW research.trade_costs IS
    'Trades of backtests with what each cost, quote currency; funding above 0 was paid; pnl is after all of it; units as in research.trades.';
