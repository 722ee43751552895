-- What the forward ledger held as of $as_of, with the last close before it and the move since the entry in percent,
-- before costs. Entries after an activation alone, newest first. The view research.forward_open knows of later trades.
WITH bars AS (
    SELECT symbol, ts + INTERVAL 1 MINUTE AS closed, close FROM market.candles_1m WHERE ts >= $as_of - INTERVAL 1 DAY
    UNION ALL -- a market of hours has no minutes
    SELECT symbol, ts + INTERVAL 1 HOUR, close FROM market.candles_60m WHERE ts >= $as_of - INTERVAL 1 DAY
),
prices AS (
    SELECT symbol, arg_max(close, closed) AS last_price
    FROM bars
    WHERE closed <= $as_of
    GROUP BY symbol
)
SELECT
    entries.kind, entries.name, entries.symbol, entries.timeframe, entries.side, entries.entry_ts, entries.entry_price,
    prices.last_price,
    100 * CASE entries.side WHEN 'long' THEN 1 ELSE -1 END * (prices.last_price / entries.entry_price - 1) AS move_pct
FROM research.forward_entries AS entries
ANTI JOIN (FROM research.forward_trades WHERE as_of <= $as_of) AS trades
    ON entries.kind = trades.kind AND entries.name = trades.name AND entries.version = trades.version
    AND entries.activated_at = trades.activated_at AND entries.symbol = trades.symbol
    AND entries.timeframe = trades.timeframe AND entries.entry_ts = trades.entry_ts
LEFT JOIN prices ON entries.symbol = prices.symbol
WHERE entries.as_of <= $as_of
ORDER BY entries.entry_ts DESC, entries.kind DESC, entries.name, entries.symbol, entries.timeframe, entries.version
