-- A strategy cycle was known to be done by its ranking, though lessons and the active set come after it: a run killed
-- between them was never finished. Now its last asset says so; what was ranked before counts as done.
INSERT INTO research.cycle_events (cycle, key, as_of, state, "at", run_id)
SELECT DISTINCT 'strategy_cycle', strftime(as_of AT TIME ZONE 'UTC', '%Y-%m-%d'), as_of, 'done', as_of, 'migration'
FROM research.ranking_history WHERE kind = 'strategy';
COMMENT ON TABLE research.cycle_events IS 'What happened to each cycle: due, done, failed, skipped; reports and ML cycles are done where their own rows are there.';
