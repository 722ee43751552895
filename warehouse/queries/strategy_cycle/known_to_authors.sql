-- Until when the authors of each name may know the market, as of $as_of: by the knowledge cut-off of a model (null without
-- one), and by what the prompt of a design told, which ends $holdout before its cycle (null without one).
SELECT
    name,
    max(knows_until) AS knows_until,
    max(CASE WHEN design_prompt IS NOT NULL THEN created_at - $holdout END) AS told_until
FROM research.strategies
WHERE created_at <= $as_of
GROUP BY name
