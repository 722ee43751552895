CREATE OR REPLACE VIEW research.why_archived AS
WITH gone AS (
    SELECT 'strategy' AS kind, name, version, since, reason FROM research.strategy_state WHERE state = 'archived'
    UNION ALL
    SELECT 'book', name, version, since, reason FROM research.book_state WHERE state = 'archived'
), best AS (
    SELECT kind, name, version, min(rank) AS best_rank, max(score) AS best_score FROM research.ranking_history GROUP BY ALL
)
SELECT kind, name, version, since, reason, best_rank, best_score
FROM gone
LEFT JOIN best USING (kind, name, version)
ORDER BY since DESC, kind, name, version;
COMMENT ON VIEW research.why_archived IS
    'Strategies and books that were archived, since when (UTC) and why, with the best rank and score that they had.';
