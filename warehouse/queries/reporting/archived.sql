-- Versions archived in ($since, $as_of] whose strategy has no active version left, with the reason.
SELECT name, version, reason, begins_at AS "at"
FROM research.strategy_lifecycle
WHERE
    event = 'archived' AND begins_at > $since AND begins_at <= $as_of
    AND name NOT IN (
        SELECT name
        FROM (
            SELECT name, event
            FROM research.strategy_lifecycle
            WHERE event IN ('active', 'tuning', 'archived') AND begins_at <= $as_of
            QUALIFY row_number() OVER (
                PARTITION BY name, version
                ORDER BY begins_at DESC, list_position(['active', 'tuning', 'archived'], event) DESC
            ) = 1
        )
        WHERE event <> 'archived'
    )
ORDER BY begins_at, name, version
