-- What the warehouse knows about itself: its market, its schema, its unique keys.
CREATE SCHEMA IF NOT EXISTS meta;

CREATE TABLE meta.settings (
    key VARCHAR NOT NULL,
    value VARCHAR NOT NULL
);
COMMENT ON TABLE meta.settings IS 'Facts about this warehouse that hold for its whole life, such as its market.';
COMMENT ON COLUMN meta.settings.key IS 'name of the fact';
COMMENT ON COLUMN meta.settings.value IS 'its value, as text';

CREATE TABLE meta.schema_migrations (
    number INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE meta.schema_migrations IS 'Numbered files of warehouse/schema that this warehouse has been through.';
COMMENT ON COLUMN meta.schema_migrations.number IS 'number in the name of the file';
COMMENT ON COLUMN meta.schema_migrations.name IS 'name of the file';
COMMENT ON COLUMN meta.schema_migrations.sha256 IS 'digest of the file as it was applied';
COMMENT ON COLUMN meta.schema_migrations.applied_at IS 'when it was applied (UTC, wall clock)';

CREATE TABLE meta.table_keys (
    table_name VARCHAR NOT NULL,
    columns VARCHAR[] NOT NULL
);
COMMENT ON TABLE meta.table_keys IS 'Columns whose values together are unique in a table: held by every write, since a lakehouse has no constraint for it.';
COMMENT ON COLUMN meta.table_keys.table_name IS 'schema.table';
COMMENT ON COLUMN meta.table_keys.columns IS 'columns of the key, in order';

INSERT INTO meta.table_keys VALUES
    ('meta.settings', ['key']),
    ('meta.schema_migrations', ['number']),
    ('meta.table_keys', ['table_name']);
