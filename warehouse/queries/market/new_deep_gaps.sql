-- Gaps of a deep $dataset that are open and were found at $since or later, by symbol and kind.
SELECT symbol, min(from_ts) AS ts, sum(bars)::VARCHAR || ' missing bars of ' || kind AS detail
FROM market.deep_gaps
WHERE dataset = $dataset AND closed_at IS NULL AND found_at >= $since
GROUP BY symbol, kind
ORDER BY symbol, ts
