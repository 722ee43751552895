-- How often each name was tuned in the stage $stage before $as_of, and when last; attempts of drift retuning for $as_of itself count as well.
SELECT name, count(*) AS attempts, max(as_of) AS latest
FROM research.proposals
WHERE stage = $stage AND attempt IS NOT NULL
    AND (as_of < $as_of OR (as_of = $as_of AND designer = 'drift'))
GROUP BY name
ORDER BY name
