-- Members of days up to $until without a bar in the $window days before, or listed for less than $window days.
WITH opened AS (
    SELECT symbol, min(ts)::DATE AS first FROM market.deep_1d GROUP BY symbol
),
member AS (
    SELECT symbol, day FROM market.universe WHERE member AND day <= $until
),
seen AS (
    SELECT m.symbol, m.day, count(b.ts) AS bars
    FROM member m
    LEFT JOIN market.deep_1d b ON b.symbol = m.symbol AND b.ts < m.day AND b.ts >= m.day - INTERVAL ($window) DAY
    GROUP BY ALL
)
SELECT
    symbol,
    day::TIMESTAMPTZ AS ts,
    CASE WHEN bars = 0 THEN 'a member without bars' ELSE 'a member listed since ' || first::VARCHAR END AS detail
FROM seen
LEFT JOIN opened USING (symbol)
WHERE bars = 0 OR first > day - $window
ORDER BY symbol, ts
