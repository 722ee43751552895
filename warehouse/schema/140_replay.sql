-- The desk replayed: what its cycles would have chosen, and what that earned before the next choice.
CREATE SCHEMA IF NOT EXISTS replay;

CREATE TABLE replay.stretches (
    replay_id VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    until TIMESTAMPTZ NOT NULL,
    every_days INTEGER NOT NULL,
    search_budget INTEGER NOT NULL,
    tuning_budget INTEGER NOT NULL,
    seed BIGINT NOT NULL,
    symbols VARCHAR[] NOT NULL,
    candidates INTEGER NOT NULL,
    active INTEGER NOT NULL,
    holding_pct DOUBLE,
    code_version VARCHAR NOT NULL,
    snapshot_id BIGINT,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('replay.stretches', ['replay_id', 'as_of']);
COMMENT ON TABLE replay.stretches IS 'One choice of a replayed desk and the time up to its next choice. Nothing here is of the live desk.';
COMMENT ON COLUMN replay.stretches.replay_id IS 'which replay: a digest of its step, budgets, seed, symbols, market and code';
COMMENT ON COLUMN replay.stretches.as_of IS 'when the desk chose; nothing later was known to it (UTC)';
COMMENT ON COLUMN replay.stretches.until IS 'when it chose again: end of the stretch (UTC)';
COMMENT ON COLUMN replay.stretches.every_days IS 'days between two choices';
COMMENT ON COLUMN replay.stretches.search_budget IS 'evaluations that the embedded search was given at each choice';
COMMENT ON COLUMN replay.stretches.tuning_budget IS 'evaluations that each attempt to tune a strategy was given';
COMMENT ON COLUMN replay.stretches.seed IS 'seed of every search';
COMMENT ON COLUMN replay.stretches.symbols IS 'symbols that the desk traded';
COMMENT ON COLUMN replay.stretches.candidates IS 'versions that were ranked';
COMMENT ON COLUMN replay.stretches.active IS 'how many of them were made active';
COMMENT ON COLUMN replay.stretches.holding_pct IS 'what holding all symbols in equal parts earned in the stretch, percent, without costs; null without bars';
COMMENT ON COLUMN replay.stretches.code_version IS 'version of the code that chose';
COMMENT ON COLUMN replay.stretches.snapshot_id IS 'snapshot of the warehouse whose market was read';
COMMENT ON COLUMN replay.stretches.run_id IS 'Dagster run that wrote the row';

CREATE TABLE replay.candidates (
    replay_id VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    author VARCHAR NOT NULL,
    rank INTEGER NOT NULL,
    active BOOLEAN NOT NULL,
    score DOUBLE,
    supported BOOLEAN,
    deviation DOUBLE,
    net_pct DOUBLE,
    gross_pct DOUBLE,
    trades INTEGER,
    reason VARCHAR,
    snapshot_id BIGINT,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('replay.candidates', ['replay_id', 'as_of', 'kind', 'name', 'version']);
COMMENT ON TABLE replay.candidates IS 'Everything that a choice of a replayed desk ranked, and what each earned in the stretch that followed, begun flat.';
COMMENT ON COLUMN replay.candidates.replay_id IS 'which replay';
COMMENT ON COLUMN replay.candidates.as_of IS 'when the desk chose (UTC)';
COMMENT ON COLUMN replay.candidates.kind IS 'what is ranked: strategy or book';
COMMENT ON COLUMN replay.candidates.name IS 'its name';
COMMENT ON COLUMN replay.candidates.version IS 'its version';
COMMENT ON COLUMN replay.candidates.author IS 'who wrote it or chose its parameters';
COMMENT ON COLUMN replay.candidates.rank IS 'its rank on the holdout, 1 is best';
COMMENT ON COLUMN replay.candidates.active IS 'whether the choice made it active';
COMMENT ON COLUMN replay.candidates.score IS 'its score on the holdout; null where a term is';
COMMENT ON COLUMN replay.candidates.supported IS 'whether the holdout supported it; null where no probability is known';
COMMENT ON COLUMN replay.candidates.deviation IS 'standard deviation of a daily return on the holdout, a fraction: its scale in comparisons; null if it did not move';
COMMENT ON COLUMN replay.candidates.net_pct IS 'what it earned in the stretch on fixed capital without leverage, after costs, percent; null if it could not be run';
COMMENT ON COLUMN replay.candidates.gross_pct IS 'the same before fees and slippage';
COMMENT ON COLUMN replay.candidates.trades IS 'trades in the stretch';
COMMENT ON COLUMN replay.candidates.reason IS 'why it could not be run; null where it could';
COMMENT ON COLUMN replay.candidates.snapshot_id IS 'snapshot of the warehouse whose market was read';
COMMENT ON COLUMN replay.candidates.run_id IS 'Dagster run that wrote the row';

CREATE TABLE replay.returns (
    replay_id VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    day TIMESTAMPTZ NOT NULL,
    net_return DOUBLE NOT NULL,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('replay.returns', ['replay_id', 'as_of', 'kind', 'name', 'version', 'day']);
COMMENT ON TABLE replay.returns IS 'Daily results behind replay.candidates.';
COMMENT ON COLUMN replay.returns.replay_id IS 'which replay';
COMMENT ON COLUMN replay.returns.as_of IS 'when the desk chose (UTC)';
COMMENT ON COLUMN replay.returns.kind IS 'what is ranked: strategy or book';
COMMENT ON COLUMN replay.returns.name IS 'its name';
COMMENT ON COLUMN replay.returns.version IS 'its version';
COMMENT ON COLUMN replay.returns.day IS 'the day (UTC), by its beginning';
COMMENT ON COLUMN replay.returns.net_return IS 'net return of the day on fixed capital without leverage, a fraction';
COMMENT ON COLUMN replay.returns.run_id IS 'Dagster run that wrote the row';
