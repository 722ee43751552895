CREATE OR REPLACE VIEW research.designers AS
WITH outcomes AS (
    SELECT as_of, stage, designer, count(*) AS finalists, count(*) FILTER (WHERE accepted) AS accepted,
           count(*) FILTER (WHERE supported) AS supported, avg(score) AS mean_score, max(score) AS best_score
    FROM research.holdout_outcomes GROUP BY as_of, stage, designer
)
SELECT runs.as_of, runs.stage, runs.designer, runs.state, runs.detail, runs.budget, runs.evaluations, runs.proposals,
       coalesce(outcomes.finalists, 0) AS finalists, coalesce(outcomes.accepted, 0) AS accepted,
       coalesce(outcomes.supported, 0) AS supported, outcomes.mean_score, outcomes.best_score, runs.model, runs.cost_usd
FROM research.designer_runs AS runs LEFT JOIN outcomes USING (as_of, stage, designer)
ORDER BY runs.as_of, runs.stage, runs.designer;
COMMENT ON VIEW research.designers IS
    'Designers and tuner compared by cycle: evaluations used of the same budget, finalists, how many were accepted and supported, mean and best score on the holdout, and US dollars.';
