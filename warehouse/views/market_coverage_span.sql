CREATE OR REPLACE VIEW market.coverage_span AS
SELECT dataset, symbol, min(day) AS first_day, max(through) AS through, count(*) AS days, sum(rows)::BIGINT AS rows
FROM market.coverage
GROUP BY dataset, symbol
ORDER BY dataset, symbol;
COMMENT ON VIEW market.coverage_span IS
    'For each dataset and symbol: first UTC day, time up to which it is stored (UTC), number of days and of rows.';
