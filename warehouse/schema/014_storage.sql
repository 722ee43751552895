-- What the warehouse takes on disk, once for each maintenance.
CREATE TABLE meta.storage (
    "at" TIMESTAMPTZ NOT NULL,
    table_name VARCHAR NOT NULL,
    files INTEGER NOT NULL,
    bytes BIGINT NOT NULL,
    delete_files INTEGER NOT NULL,
    inlined_rows BIGINT NOT NULL
);
COMMENT ON TABLE meta.storage IS 'What each table takes on disk after a maintenance, by which growth is measured.';
COMMENT ON COLUMN meta.storage."at" IS 'when it was measured (UTC, wall clock)';
COMMENT ON COLUMN meta.storage.table_name IS 'schema.table; * for all files in the data folder, those of older snapshots and of the catalog included';
COMMENT ON COLUMN meta.storage.files IS 'number of Parquet files of the current snapshot';
COMMENT ON COLUMN meta.storage.bytes IS 'their size, in bytes';
COMMENT ON COLUMN meta.storage.delete_files IS 'number of files that say which rows of others are gone; of * the number of snapshots';
COMMENT ON COLUMN meta.storage.inlined_rows IS 'number of rows that are kept in the catalog so far';
INSERT INTO meta.table_keys VALUES ('meta.storage', ['at', 'table_name']);
