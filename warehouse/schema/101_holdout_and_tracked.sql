-- The values of two columns by the words of GLOSSARY.md: holdout for exam, tracked for followed. A query that compares with
-- an old value finds no row from here on. Snapshots from before keep the old values; the code reads them by the new ones.
UPDATE research.trials SET purpose = 'holdout' WHERE purpose = 'exam';
COMMENT ON COLUMN research.trials.purpose IS 'holdout (out of sample) or search (in the search window, before the holdout); null: holdout';
UPDATE research.forward_runs SET state = 'tracked' WHERE state = 'followed';
COMMENT ON COLUMN research.forward_runs.state IS 'tracked or lost (its code or files are gone, or its signals do not fit their bars)';
