CREATE OR REPLACE VIEW research.current_ranking AS
SELECT kind, rank, name, version, score, trades, status, reason, as_of, run_id
FROM research.ranking_history AS latest
WHERE as_of = (SELECT max(as_of) FROM research.ranking_history AS every WHERE every.kind = latest.kind)
ORDER BY kind, rank NULLS LAST, name;
COMMENT ON VIEW research.current_ranking IS
    'Latest rank of each strategy, model and ensemble; columns and units as in research.ranking_history.';
