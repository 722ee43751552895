CREATE OR REPLACE VIEW market.universe_by_day AS
SELECT
    day,
    count(*) FILTER (member) AS members,
    list(symbol ORDER BY rank) FILTER (member) AS symbols,
    list(symbol ORDER BY symbol) FILTER (NOT member) AS others
FROM market.universe
GROUP BY day
ORDER BY day DESC;
COMMENT ON VIEW market.universe_by_day IS
    'Members of the universe on each day (UTC) in the order of their volume, and the symbols that were none.';
