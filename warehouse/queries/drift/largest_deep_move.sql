-- The daily move, up or down, that one day in a thousand exceeds, of the universe's members on the days before $start.
SELECT quantile_cont(abs(daily.close / daily.open - 1), 0.999) AS move
FROM market.deep_1d AS daily
JOIN market.universe AS universe ON universe.symbol = daily.symbol AND universe.day = CAST(daily.ts AS DATE)
WHERE universe.member AND daily.ts <= $start - INTERVAL 1 DAY AND daily.open > 0
