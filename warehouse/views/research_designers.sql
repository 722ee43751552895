CREATE OR REPLACE VIEW research.designers AS
WITH exams AS (
    SELECT as_of, stage, designer, count(*) AS finalists, count(*) FILTER (WHERE accepted) AS accepted,
           count(*) FILTER (WHERE supported) AS supported, avg(score) AS mean_score, max(score) AS best_score
    FROM research.exam_outcomes GROUP BY as_of, stage, designer
)
SELECT runs.as_of, runs.stage, runs.designer, runs.state, runs.detail, runs.budget, runs.evaluations, runs.proposals,
       coalesce(exams.finalists, 0) AS finalists, coalesce(exams.accepted, 0) AS accepted,
       coalesce(exams.supported, 0) AS supported, exams.mean_score, exams.best_score, runs.model, runs.cost_usd
FROM research.designer_runs AS runs LEFT JOIN exams USING (as_of, stage, designer)
ORDER BY runs.as_of, runs.stage, runs.designer;
COMMENT ON VIEW research.designers IS
    'The authors compared, cycle by cycle: evaluations used of the same budget, finalists, how many were accepted and supported, mean and best score on the exam (data that nothing before saw), and US dollars.';
