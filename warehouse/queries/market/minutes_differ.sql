-- Hours in [$start, $end) that were fetched otherwise than their minutes make them, as logged among the revisions.
SELECT
    symbol,
    ts,
    field || ' ' || old_value || ' made of minutes, ' || new_value || ' fetched' AS detail
FROM market.candle_revisions
WHERE field LIKE 'minutes_60m_%' AND ts >= $start AND ts < $end AND list_contains($symbols, symbol)
ORDER BY ALL
