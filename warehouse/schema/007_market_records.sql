-- The last look for a gap, and what the older system knew besides its scores.
ALTER TABLE market.gaps ADD COLUMN looked_at TIMESTAMPTZ;
COMMENT ON COLUMN market.gaps.looked_at IS 'as-of at which the source was last asked for these bars (UTC)';

CREATE TABLE research.knowledge_entries (
    id VARCHAR NOT NULL,
    "timestamp" TIMESTAMPTZ NOT NULL,
    category VARCHAR,
    strategy VARCHAR,
    symbol VARCHAR,
    content VARCHAR,
    source VARCHAR,
    metadata VARCHAR,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE research.knowledge_entries IS 'What was learnt, in words; append-only.';
COMMENT ON COLUMN research.knowledge_entries.id IS 'hash of all that the row says';
COMMENT ON COLUMN research.knowledge_entries."timestamp" IS 'when it was learnt (UTC)';
COMMENT ON COLUMN research.knowledge_entries.category IS 'performance, lesson, recommendation or change';
COMMENT ON COLUMN research.knowledge_entries.strategy IS 'name of the strategy; null where it is about none';
COMMENT ON COLUMN research.knowledge_entries.symbol IS 'perpetual future, BASE-QUOTE; null where it is about none';
COMMENT ON COLUMN research.knowledge_entries.content IS 'what was learnt';
COMMENT ON COLUMN research.knowledge_entries.source IS 'who wrote it';
COMMENT ON COLUMN research.knowledge_entries.metadata IS 'further facts, as JSON';
COMMENT ON COLUMN research.knowledge_entries.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.knowledge_entries', ['id']);

CREATE TABLE research.strategy_configs (
    id VARCHAR NOT NULL,
    "timestamp" TIMESTAMPTZ NOT NULL,
    strategy VARCHAR NOT NULL,
    config_json VARCHAR,
    source VARCHAR,
    note VARCHAR,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE research.strategy_configs IS 'Parameters that strategies were given by hand or by another system; append-only.';
COMMENT ON COLUMN research.strategy_configs.id IS 'hash of all that the row says';
COMMENT ON COLUMN research.strategy_configs."timestamp" IS 'from when they held (UTC)';
COMMENT ON COLUMN research.strategy_configs.strategy IS 'name of the strategy';
COMMENT ON COLUMN research.strategy_configs.config_json IS 'name and value of each parameter, as JSON';
COMMENT ON COLUMN research.strategy_configs.source IS 'who set them';
COMMENT ON COLUMN research.strategy_configs.note IS 'why, in words';
COMMENT ON COLUMN research.strategy_configs.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.strategy_configs', ['id']);
