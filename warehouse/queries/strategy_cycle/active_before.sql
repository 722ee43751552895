-- The versions that were active just before $as_of.
SELECT name, version
FROM (
    SELECT name, version, event
    FROM {lifecycle}
    WHERE event IN ('active', 'archived') AND begins_at < $as_of
    QUALIFY row_number() OVER (PARTITION BY name, version ORDER BY begins_at DESC, event DESC) = 1
)
WHERE event = 'active'
