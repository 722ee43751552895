-- What cannot be run stops itself alone: what the rows say of it.
COMMENT ON COLUMN research.strategy_events.event IS 'state that begins: candidate, active, tuning, archived, or refused, which it fails the causality test; validated: it passed that test; repeats: it took the exam and its positions were those of another, so it was not ranked; failed: it could not be run on the exam, so it was not ranked';
COMMENT ON COLUMN research.forward_runs.state IS 'followed, or lost: its code or files are no longer there, or its signals do not fit their bars';
