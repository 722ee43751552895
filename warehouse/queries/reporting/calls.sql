-- Calls of Claude as of ($since, $as_of] by role and model; those of $without not at $as_of itself.
SELECT
    role,
    model,
    count(*) AS due,
    count(*) FILTER (WHERE outcome = 'reserved' OR latency_seconds IS NOT NULL) AS calls,
    count(*) FILTER (WHERE outcome = 'answered') AS answered,
    string_agg(DISTINCT outcome, ', ' ORDER BY outcome) AS outcomes,
    sum(cost_usd) AS cost_usd
FROM research.llm_calls
WHERE as_of > $since AND as_of <= $as_of AND NOT (as_of = $as_of AND role IN (SELECT unnest($without)))
GROUP BY ALL
ORDER BY role, model
