-- Candles and funding of $symbols in [$start, $end) as replays read them: for each hour the number of bars and a hash
-- of them, and for each funding payment, with -1 as rows, a hash of its rate. {base} is the symbols' shortest timeframe.
SELECT
    symbol,
    time_bucket(INTERVAL 1 HOUR, ts) AS hour,
    count(*) AS rows,
    bit_xor(hash(ts, open, high, low, close, volume, flag)) AS content
FROM market.candles_{base}
WHERE ts >= $start AND ts < $end AND symbol IN (SELECT unnest($symbols))
GROUP BY ALL
UNION ALL
SELECT symbol, ts, -1, hash(rate)
FROM market.funding_rates
WHERE ts >= $start AND ts < $end AND symbol IN (SELECT unnest($symbols))
