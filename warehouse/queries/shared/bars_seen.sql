-- Stored bars of each of $symbols: opening time of the first, of the last before $as_of, and the number in
-- [$start, $as_of). {base} is the symbols' shortest timeframe.
SELECT
    i.symbol,
    min(c.ts) AS listed,
    max(c.ts) FILTER (WHERE c.ts < $as_of) AS newest,
    count(c.ts) FILTER (WHERE c.ts >= $start AND c.ts < $as_of) AS bars
FROM (SELECT unnest($symbols) AS symbol) AS i
LEFT JOIN market.candles_{base} AS c USING (symbol)
GROUP BY i.symbol
ORDER BY i.symbol
