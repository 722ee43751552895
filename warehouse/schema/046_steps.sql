-- Where a price steps for good, and what somebody says that it is.
CREATE TABLE market.steps (
    symbol VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    ratio DOUBLE NOT NULL,
    before_ts TIMESTAMPTZ NOT NULL,
    meaning VARCHAR,
    found_at TIMESTAMPTZ NOT NULL,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE market.steps IS 'Bars at which a price changes by a factor of five or more: a redenomination, another unit, or a real move. The symbol is kept out of every lane until somebody says which: blofin step.';
COMMENT ON COLUMN market.steps.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.steps.ts IS 'opening time of the first 1-minute bar with the new price (UTC)';
COMMENT ON COLUMN market.steps.ratio IS 'new price / old price';
COMMENT ON COLUMN market.steps.before_ts IS 'opening time of the bar before (UTC)';
COMMENT ON COLUMN market.steps.meaning IS 'real: a move of the market, traded as it is; units: another unit, so that the symbol begins here; null: nobody has said yet';
COMMENT ON COLUMN market.steps.found_at IS 'as-of of the run that first saw it (UTC)';
COMMENT ON COLUMN market.steps.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.steps', ['symbol', 'ts']);
