CREATE OR REPLACE VIEW research.book_state AS
SELECT name, version, event AS state, begins_at AS since, reason
FROM research.book_lifecycle
-- of two events at one as-of, the later stage of life holds
QUALIFY row_number() OVER (
    PARTITION BY name, version
    ORDER BY begins_at DESC, coalesce(list_position(['candidate', 'validated', 'active', 'tuning', 'archived', 'refused'], event), 0) DESC
) = 1;
COMMENT ON VIEW research.book_state IS
    'Current state of each version of each book (candidate, validated, active, tuning, archived, refused) and since when (UTC).';
