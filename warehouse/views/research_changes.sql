CREATE OR REPLACE VIEW research.changes AS
SELECT begins_at AS moment, 'strategy' AS kind, name, version, event, reason FROM research.strategy_lifecycle
UNION ALL
SELECT begins_at, 'book', name, version, event, reason FROM research.book_lifecycle
UNION ALL
SELECT as_of, kind, name, version, status, reason
FROM research.ranking_history
WHERE kind IN ('model', 'ensemble')
QUALIFY status IS DISTINCT FROM lag(status) OVER (PARTITION BY kind, name ORDER BY as_of)
ORDER BY moment DESC, kind, name, version;
COMMENT ON VIEW research.changes IS
    'What changed and why, the latest first: stages of life of strategies and books, changes of status of models and ensembles (UTC).';
