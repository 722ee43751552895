-- The terms of $symbols in force at $as_of; the first ones if they were described only later. Impossible values are
-- null: a leverage below 1, a maintenance rate of 1 or more.
SELECT
    symbol,
    CASE WHEN max_leverage >= 1 AND isfinite(max_leverage) THEN max_leverage END AS most,
    CASE WHEN maintenance_margin_rate >= 0 AND maintenance_margin_rate < 1 THEN maintenance_margin_rate END AS rate,
    coalesce(min_size, lot_size) * contract_value AS least,
    lot_size * contract_value AS lot
FROM market.instruments
WHERE symbol IN (SELECT unnest($symbols))
QUALIFY row_number() OVER (
    PARTITION BY symbol
    ORDER BY as_of > $as_of, CASE WHEN as_of <= $as_of THEN as_of END DESC, as_of
) = 1
ORDER BY symbol
