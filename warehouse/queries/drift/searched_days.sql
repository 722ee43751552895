-- What the days of each strategy's search windows were like: those in which it was scored as an incumbent, and the one in
-- which it was proposed.
SELECT strategy AS name, version, as_of, day_deviation AS deviation, day_worst AS worst, day_best AS best
FROM research.strategy_scores
WHERE symbol = '*' AND day_deviation IS NOT NULL
UNION ALL
SELECT name, version, as_of, search_day_deviation, search_day_worst, search_day_best
FROM research.proposals
WHERE search_day_deviation IS NOT NULL
ORDER BY ALL
