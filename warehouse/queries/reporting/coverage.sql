-- How far each dataset of $symbols is stored as of $as_of: first day, end, rows, rows since $recent, days.
SELECT
    dataset,
    symbol,
    min(day) AS first_day,
    max(through) AS through,
    sum(rows)::BIGINT AS bars,
    coalesce(sum(rows) FILTER (WHERE day >= $recent), 0)::BIGINT AS recent_bars,
    count(*) AS days
FROM market.coverage
WHERE through <= $as_of AND symbol IN (SELECT unnest($symbols))
GROUP BY ALL
