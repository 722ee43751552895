CREATE OR REPLACE VIEW research.leaderboard_over_time AS
SELECT
    kind, as_of, rank, rank - lag(rank) OVER versions AS change, name, version, status, score, trades, reason,
    count(*) OVER versions AS cycles
FROM research.ranking_history
WINDOW versions AS (PARTITION BY kind, name, version ORDER BY as_of)
ORDER BY kind, as_of DESC, rank NULLS LAST, name;
COMMENT ON VIEW research.leaderboard_over_time IS
    'Ranks of every cycle, the latest first: change is against the cycle before (negative is better), cycles counts those so far; units as in research.ranking_history.';
