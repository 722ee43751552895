-- Three columns were called "at", which SQL has as a keyword: each query had to quote them. They are named by what they
-- hold, in tables of new names; the views of the old names have both, so that queries of before go on.
-- DuckLake cannot rename a table and give its name to a view in one transaction: the rows are copied.
CREATE TABLE research.strategy_lifecycle (
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    event VARCHAR NOT NULL,
    begins_at TIMESTAMPTZ NOT NULL,
    reason VARCHAR,
    run_id VARCHAR NOT NULL
);
INSERT INTO research.strategy_lifecycle SELECT name, version, event, "at", reason, run_id FROM research.strategy_events;
DROP TABLE research.strategy_events;
COMMENT ON TABLE research.strategy_lifecycle IS 'Lifecycle of strategies, append-only; the current state is the view research.strategy_state.';
COMMENT ON COLUMN research.strategy_lifecycle.name IS 'name of the strategy';
COMMENT ON COLUMN research.strategy_lifecycle.version IS 'version of the strategy';
COMMENT ON COLUMN research.strategy_lifecycle.event IS 'state that begins: candidate, active, tuning, archived; validated: it passed the causality test; refused: it failed that test; repeats: it took the exam and its positions were those of another, so it was not ranked; failed: it could not be run on the exam, so it was not ranked';
COMMENT ON COLUMN research.strategy_lifecycle.begins_at IS 'as-of at which the state begins (UTC)';
COMMENT ON COLUMN research.strategy_lifecycle.reason IS 'why, in words';
COMMENT ON COLUMN research.strategy_lifecycle.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.cycle_history (
    cycle VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    state VARCHAR NOT NULL,
    happened_at TIMESTAMPTZ NOT NULL,
    detail VARCHAR,
    run_id VARCHAR NOT NULL
);
INSERT INTO research.cycle_history SELECT cycle, key, as_of, state, "at", detail, run_id FROM research.cycle_events;
DROP TABLE research.cycle_events;
COMMENT ON TABLE research.cycle_history IS 'What happened to each cycle: due, done, failed, skipped; reports and ML cycles are done where their own rows are there.';
COMMENT ON COLUMN research.cycle_history.cycle IS 'name of the cycle, such as strategy, ml or report';
COMMENT ON COLUMN research.cycle_history.key IS 'partition key of the cycle';
COMMENT ON COLUMN research.cycle_history.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN research.cycle_history.state IS 'what happened';
COMMENT ON COLUMN research.cycle_history.happened_at IS 'when it happened (UTC, wall clock)';
COMMENT ON COLUMN research.cycle_history.detail IS 'more about it, in words';
COMMENT ON COLUMN research.cycle_history.run_id IS 'Dagster run that wrote the row';

CREATE TABLE meta.storage_history (
    measured_at TIMESTAMPTZ NOT NULL,
    table_name VARCHAR NOT NULL,
    files INTEGER NOT NULL,
    bytes BIGINT NOT NULL,
    delete_files INTEGER NOT NULL,
    inlined_rows BIGINT NOT NULL
);
INSERT INTO meta.storage_history SELECT "at", table_name, files, bytes, delete_files, inlined_rows FROM meta.storage;
DROP TABLE meta.storage;
COMMENT ON TABLE meta.storage_history IS 'What each table takes on disk after a maintenance, by which growth is measured.';
COMMENT ON COLUMN meta.storage_history.measured_at IS 'when it was measured (UTC, wall clock)';
COMMENT ON COLUMN meta.storage_history.table_name IS 'schema.table; * for all files in the data folder, those of older snapshots and of the catalog included';
COMMENT ON COLUMN meta.storage_history.files IS 'number of Parquet files of the current snapshot';
COMMENT ON COLUMN meta.storage_history.bytes IS 'their size, in bytes';
COMMENT ON COLUMN meta.storage_history.delete_files IS 'number of files that say which rows of others are gone; of * the number of snapshots';
COMMENT ON COLUMN meta.storage_history.inlined_rows IS 'number of rows that are kept in the catalog so far';

DELETE FROM meta.table_keys WHERE table_name IN ('research.strategy_events', 'research.cycle_events', 'meta.storage');
INSERT INTO meta.table_keys VALUES
    ('research.strategy_lifecycle', ['name', 'version', 'event', 'begins_at']),
    ('research.cycle_history', ['cycle', 'key', 'as_of', 'state', 'happened_at']),
    ('meta.storage_history', ['measured_at', 'table_name']);
