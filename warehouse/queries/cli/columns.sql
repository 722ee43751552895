-- Each column of a table or view with its type and comment, or of all of them where $name is null.
SELECT schema_name || '.' || table_name AS name, column_name, data_type, comment
FROM duckdb_columns()
WHERE database_name = current_database() AND NOT internal
    AND ($name IS NULL OR schema_name || '.' || table_name = $name)
ORDER BY name, column_index
