CREATE OR REPLACE VIEW market.bases AS
WITH lengths(dataset, timeframe, minutes) AS (
    VALUES ('candles_1m', '1m', 1), ('candles_5m', '5m', 5), ('candles_15m', '15m', 15), ('candles_60m', '60m', 60),
        ('candles_4h', '4h', 240), ('candles_1d', '1d', 1440)
)
SELECT symbol, timeframe, minutes
FROM (SELECT DISTINCT symbol, dataset FROM market.coverage WHERE rows > 0)
JOIN lengths USING (dataset)
QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY minutes) = 1
ORDER BY symbol;
COMMENT ON VIEW market.bases IS
    'The shortest bars of each symbol, which are fetched: their timeframe and length in minutes. All longer bars are made of them, each of candles_*.minutes / bases.minutes of them; there are no shorter ones.';
