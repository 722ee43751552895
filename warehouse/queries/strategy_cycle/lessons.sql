-- At most $most lessons on a $kind that were learnt before $as_of and may be used then, those about $strategy first, then the
-- newest. An entry without `usable_from` may be used if it is not newer than $old.
SELECT category, content, strategy, symbol
FROM research.knowledge_entries
WHERE coalesce(as_of, "timestamp") < $as_of
    AND coalesce(usable_from <= $as_of, "timestamp" <= $old)
    AND content IS NOT NULL
    AND coalesce(kind, 'strategy') = $kind
ORDER BY coalesce(strategy = $strategy, false) DESC, coalesce(as_of, "timestamp") DESC, id
LIMIT $most
