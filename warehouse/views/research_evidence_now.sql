CREATE OR REPLACE VIEW research.evidence_now AS
SELECT
    kind, name, version, activated_at, day, days, total_pct, capital, capital_worse, confirmed, first_confirmed, broken
FROM (
    SELECT
        *,
        count(*) OVER followed AS days,
        100 * sum(net_return) OVER followed AS total_pct,
        min(day) FILTER (confirmed) OVER followed AS first_confirmed,
        max(day) OVER followed AS last
    FROM research.evidence_daily
    WINDOW followed AS (PARTITION BY kind, name, version, activated_at)
)
WHERE day = last
ORDER BY capital DESC, kind, name, version;
COMMENT ON VIEW research.evidence_now IS
    'Evidence of forward days up to the last of each record, the most first: days, sum of daily returns in percent, and the capital of its e-process; other columns as in research.evidence_daily.';
