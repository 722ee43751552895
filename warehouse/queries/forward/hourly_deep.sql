-- What replays of books read of [$start, $end): for each symbol and hour a hash of its hourly bars, of its daily bars (with
-- -1 as rows), of its funding (-2) and of its membership of the universe (-3).
SELECT
    symbol,
    time_bucket(INTERVAL 1 HOUR, ts) AS hour,
    count(*) AS rows,
    bit_xor(hash(ts, open, high, low, close, volume, quote_volume, flag)) AS content
FROM market.deep_60m
WHERE ts >= $start AND ts < $end
GROUP BY ALL
UNION ALL
SELECT symbol, ts, -1, hash(open, high, low, close, volume, quote_volume, flag)
FROM market.deep_1d
WHERE ts >= $start AND ts < $end
UNION ALL
SELECT symbol, ts, -2, hash(rate)
FROM market.deep_funding
WHERE ts >= $start AND ts < $end
UNION ALL
SELECT symbol, CAST(day AS TIMESTAMPTZ), -3, hash(member)
FROM market.universe
WHERE CAST(day AS TIMESTAMPTZ) >= $start AND CAST(day AS TIMESTAMPTZ) < $end
