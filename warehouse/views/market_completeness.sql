CREATE OR REPLACE VIEW market.completeness AS
WITH lacking AS (
    SELECT symbol, from_ts::DATE AS day, sum(bars) FILTER (WHERE kind <> 'single_price')::BIGINT AS missing,
        coalesce(sum(bars) FILTER (WHERE kind = 'single_price'), 0)::BIGINT AS single_price,
        string_agg(DISTINCT kind, ', ' ORDER BY kind) AS kinds
    FROM market.gaps
    WHERE closed_at IS NULL
    GROUP BY ALL
)
SELECT symbol, day, through, rows AS bars, coalesce(missing, 0) AS missing,
    coalesce(single_price, 0) AS single_price, kinds
FROM market.coverage
LEFT JOIN lacking USING (symbol, day)
LEFT JOIN market.bases USING (symbol)
WHERE dataset = 'candles_' || coalesce(timeframe, '1m')
ORDER BY symbol, day;
COMMENT ON VIEW market.completeness IS
    'For each symbol and UTC day: time up to which it is stored (UTC), number of its shortest bars (market.bases, mostly minutes), of missing ones and of those without trading, and why (kinds of market.gaps that are open).';
