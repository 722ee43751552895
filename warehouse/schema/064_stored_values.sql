-- Names every value that these columns hold; the code's enums say the same, and a test compares both.
COMMENT ON COLUMN research.cycle_history.state IS 'due, done, skipped or failed (too often, and given up)';
COMMENT ON COLUMN research.strategies.author IS 'who wrote it or chose its parameters: library, search, claude, tuner or drift (tuned since drift was found)';
COMMENT ON COLUMN research.trials.author IS 'who asked for it: library, search, claude, tuner, drift, user, ml_cycle or tuning (the search for another specification of a model)';
COMMENT ON COLUMN research.trials.purpose IS 'exam or search (in a search window, which precedes every exam that it leads to); null: exam';
COMMENT ON COLUMN research.strategy_lifecycle.event IS 'state that begins, or what is noted: candidate, active, tuning, archived, refused (it failed the causality test), validated (it passed that test), repeats (it took the exam and its positions were those of another, so it was not ranked) or failed (it could not be run on the exam, so it was not ranked)';
COMMENT ON COLUMN research.proposals.designer IS 'claude, search, tuner or drift (tuned since drift was found)';
COMMENT ON COLUMN research.proposals.state IS 'sound (it may take the exam), refused or exhausted (there was none: every attempt to tune the name is used up)';
COMMENT ON COLUMN research.finalists.designer IS 'claude, search, tuner or drift';
COMMENT ON COLUMN research.exam_outcomes.designer IS 'claude, search, tuner or drift';
COMMENT ON COLUMN research.knowledge_entries.source IS 'who it is of: claude, search, tuner, drift or ranking';
COMMENT ON COLUMN research.ranking_history.status IS 'active or archived';
COMMENT ON COLUMN research.forward_runs.state IS 'followed or lost (its code or files are no longer there, or its signals do not fit their bars)';
COMMENT ON COLUMN research.retunes.state IS 'tuned (a challenger was made), unchanged (nothing better was found), awaits cycle (the next ML cycle trains the model) or not run';
COMMENT ON COLUMN ml.ml_model_results.status IS 'candidate or rejected (it failed a leakage check, or could not be trained)';
