CREATE OR REPLACE VIEW research.claude_costs AS
SELECT
    CAST(called_at AS DATE) AS day, role, model, count(*) AS calls, count(*) FILTER (outcome = 'answered') AS answered,
    CAST(sum(input_tokens) AS BIGINT) AS input_tokens, CAST(sum(cached_tokens) AS BIGINT) AS cached_tokens,
    CAST(sum(output_tokens) AS BIGINT) AS output_tokens,
    sum(cost_usd) AS cost_usd
FROM research.llm_calls
GROUP BY ALL
ORDER BY day DESC, cost_usd DESC;
COMMENT ON VIEW research.claude_costs IS
    'What Claude cost by day (UTC), role and model: calls, those answered, tokens, US dollars.';
