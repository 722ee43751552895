-- The daily move, up or down, that one day in a thousand exceeds, of $symbols on the days before $start; null if none.
SELECT quantile_cont(abs(close / open - 1), 0.999) AS move
FROM market.candles_1d
WHERE list_contains($symbols, symbol) AND ts <= $start - INTERVAL 1 DAY AND open > 0
