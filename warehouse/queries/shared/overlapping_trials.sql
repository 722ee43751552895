-- Configurations that were run on a window that overlaps [$start, $end), as of its end; without searches, and without
-- other kinds than $kind at the same as-of, whose cycle may run before or after.
SELECT DISTINCT kind, name, version, lanes
FROM research.trials
WHERE coalesce(purpose, 'holdout') <> 'search'
    AND window_start < $end AND window_end > $start
    AND (as_of < $end OR (as_of = $end AND kind = $kind))
