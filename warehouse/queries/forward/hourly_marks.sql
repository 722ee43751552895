-- Mark prices of $symbols in [$start, $end), which decide on liquidations: for each hour the number of bars and a hash.
SELECT
    symbol,
    time_bucket(INTERVAL 1 HOUR, ts) AS hour,
    count(*) AS rows,
    bit_xor(hash(ts, open, high, low)) AS content
FROM market.mark_candles_1m
WHERE ts >= $start AND ts < $end AND symbol IN (SELECT unnest($symbols))
GROUP BY ALL
