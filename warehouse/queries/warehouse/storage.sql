-- Files and bytes of each table of the lakehouse, from its own catalog; {catalog} and {meta} are its names.
SELECT
    s.schema_name || '.' || i.table_name AS table_name,
    i.table_id,
    i.file_count AS files,
    i.file_size_bytes + i.delete_file_size_bytes AS bytes,
    i.delete_file_count AS delete_files
FROM {catalog}.table_info() AS i
JOIN {meta}.ducklake_schema AS s ON s.schema_id = i.schema_id AND s.end_snapshot IS NULL
ORDER BY 1
