-- Hourly equity of the strategies that the cycle as of $as_of made active, and whether a bar closed in the hour. Where two
-- versions of one strategy are active, each is named with its version.
SELECT
    CASE WHEN count(DISTINCT version) OVER (PARTITION BY name) > 1 THEN name || ' ' || version ELSE name END AS name,
    equity.ts,
    equity.equity,
    equity.with_bars
FROM research.equity AS equity
JOIN research.ranking_history AS ranked USING (as_of, kind, name, version)
WHERE ranked.as_of = $as_of AND ranked.kind = 'strategy' AND ranked.status = 'active'
ORDER BY ALL
