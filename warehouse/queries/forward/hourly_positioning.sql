-- Positioning data of $symbols in [$start, $end) as replays read them: for each hour the number of rows and a hash.
SELECT
    symbol,
    time_bucket(INTERVAL 1 HOUR, ts) AS hour,
    count(*) AS rows,
    bit_xor(
        hash(
            ts, open_interest, open_interest_value, top_accounts_ratio, top_positions_ratio, accounts_ratio, taker_ratio
        )
    ) AS content
FROM market.positioning
WHERE ts >= $start AND ts < $end AND symbol IN (SELECT unnest($symbols))
GROUP BY ALL
