-- Each table and view of the warehouse with its comment; `SHOW TABLES` covers one schema only.
SELECT schema_name || '.' || name AS name, kind, comment
FROM (
    SELECT schema_name, table_name AS name, 'table' AS kind, comment
    FROM duckdb_tables()
    WHERE database_name = current_database()
    UNION ALL
    SELECT schema_name, view_name, 'view', comment
    FROM duckdb_views()
    WHERE database_name = current_database() AND NOT internal
)
ORDER BY ALL
