-- Each record of $kind with evidence by nights before $as_of, and those nights by which less than $hopeless of its capital was
-- left, in order.
SELECT name, version, activated_at, list(as_of ORDER BY as_of) FILTER (WHERE capital < $hopeless) AS nights
FROM research.evidence_daily
WHERE kind = $kind AND as_of < $as_of
GROUP BY ALL
ORDER BY ALL
