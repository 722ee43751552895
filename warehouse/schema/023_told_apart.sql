-- What rows say of what could not be run, and of which window a score is.
COMMENT ON COLUMN research.strategy_events.event IS 'state that begins: candidate, active, tuning, archived, or refused, which it fails the causality test; validated: it passed that test; repeats: it took the exam and its positions were those of another, so it was not ranked; failed: it could not be run on the exam, so it was not ranked';
COMMENT ON COLUMN research.forward_runs.state IS 'followed, or lost: its code or files are no longer there, or its signals do not fit their bars';
-- Search windows are called apart from exams: where the history was short, both were of seven days.
UPDATE research.strategy_scores SET "window" = 'search_' || "window" WHERE version IS NOT NULL AND "window" <> '7d';
COMMENT ON COLUMN research.strategy_scores."window" IS 'which window, by its length: 7d for the exam, search_28d for the search window before it; an SQL keyword: quote it';
