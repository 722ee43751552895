-- What the market source gave: instruments, candles, funding, and what is missing or was revised.
CREATE SCHEMA IF NOT EXISTS market;

CREATE TABLE market.instruments (
    symbol VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    base_currency VARCHAR,
    quote_currency VARCHAR,
    contract_value DOUBLE,
    tick_size DOUBLE,
    lot_size DOUBLE,
    min_size DOUBLE,
    max_leverage DOUBLE,
    maintenance_margin_rate DOUBLE,
    taker_fee DOUBLE,
    maker_fee DOUBLE,
    list_time TIMESTAMPTZ,
    state VARCHAR,
    origin VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE market.instruments IS 'Perpetual futures as the source described them at a time.';
COMMENT ON COLUMN market.instruments.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.instruments.as_of IS 'when the description held (UTC)';
COMMENT ON COLUMN market.instruments.base_currency IS 'currency that is traded';
COMMENT ON COLUMN market.instruments.quote_currency IS 'currency of prices';
COMMENT ON COLUMN market.instruments.contract_value IS 'base units in one contract';
COMMENT ON COLUMN market.instruments.tick_size IS 'smallest step of the price, in quote currency';
COMMENT ON COLUMN market.instruments.lot_size IS 'smallest step of the order size, in contracts';
COMMENT ON COLUMN market.instruments.min_size IS 'smallest order, in contracts';
COMMENT ON COLUMN market.instruments.max_leverage IS 'highest leverage, as a multiple of the margin';
COMMENT ON COLUMN market.instruments.maintenance_margin_rate IS 'maintenance margin, as a fraction of notional';
COMMENT ON COLUMN market.instruments.taker_fee IS 'fee of a taker, as a fraction of notional';
COMMENT ON COLUMN market.instruments.maker_fee IS 'fee of a maker, as a fraction of notional';
COMMENT ON COLUMN market.instruments.list_time IS 'when trading began (UTC)';
COMMENT ON COLUMN market.instruments.state IS 'state of trading, in the source''s words, such as live';
COMMENT ON COLUMN market.instruments.origin IS 'what gave the row: sample, archive, blofin or ticks';
COMMENT ON COLUMN market.instruments.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.instruments', ['symbol', 'as_of']);

CREATE TABLE market.candles_1m (
    symbol VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    open DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    close DOUBLE NOT NULL,
    volume DOUBLE,
    quote_volume DOUBLE,
    contracts DOUBLE,
    minutes INTEGER NOT NULL,
    origin VARCHAR NOT NULL,
    flag VARCHAR,
    run_id VARCHAR NOT NULL
);
ALTER TABLE market.candles_1m SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE market.candles_1m IS 'Closed bars of one minute. A bar that is missing has no row.';
COMMENT ON COLUMN market.candles_1m.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.candles_1m.ts IS 'opening time of the bar (UTC)';
COMMENT ON COLUMN market.candles_1m.open IS 'first price, in quote currency';
COMMENT ON COLUMN market.candles_1m.high IS 'highest price, in quote currency';
COMMENT ON COLUMN market.candles_1m.low IS 'lowest price, in quote currency';
COMMENT ON COLUMN market.candles_1m.close IS 'last price, in quote currency';
COMMENT ON COLUMN market.candles_1m.volume IS 'traded amount, in base units; null where unknown';
COMMENT ON COLUMN market.candles_1m.quote_volume IS 'traded amount, in quote currency; null where unknown';
COMMENT ON COLUMN market.candles_1m.contracts IS 'traded contracts; null where unknown';
COMMENT ON COLUMN market.candles_1m.minutes IS 'number of 1-minute bars inside';
COMMENT ON COLUMN market.candles_1m.origin IS 'what made the bar: sample, archive, blofin or ticks';
COMMENT ON COLUMN market.candles_1m.flag IS 'null for a sound bar, else why it is never traded on: single_price, incomplete, repaired; several joined by a comma';
COMMENT ON COLUMN market.candles_1m.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.candles_1m', ['symbol', 'ts']);

CREATE TABLE market.candles_5m (
    symbol VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    open DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    close DOUBLE NOT NULL,
    volume DOUBLE,
    quote_volume DOUBLE,
    contracts DOUBLE,
    minutes INTEGER NOT NULL,
    origin VARCHAR NOT NULL,
    flag VARCHAR,
    run_id VARCHAR NOT NULL
);
ALTER TABLE market.candles_5m SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE market.candles_5m IS 'Closed bars of 5 minutes. A bar that is missing has no row.';
COMMENT ON COLUMN market.candles_5m.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.candles_5m.ts IS 'opening time of the bar (UTC)';
COMMENT ON COLUMN market.candles_5m.open IS 'first price, in quote currency';
COMMENT ON COLUMN market.candles_5m.high IS 'highest price, in quote currency';
COMMENT ON COLUMN market.candles_5m.low IS 'lowest price, in quote currency';
COMMENT ON COLUMN market.candles_5m.close IS 'last price, in quote currency';
COMMENT ON COLUMN market.candles_5m.volume IS 'traded amount, in base units; null where unknown';
COMMENT ON COLUMN market.candles_5m.quote_volume IS 'traded amount, in quote currency; null where unknown';
COMMENT ON COLUMN market.candles_5m.contracts IS 'traded contracts; null where unknown';
COMMENT ON COLUMN market.candles_5m.minutes IS 'number of 1-minute bars inside';
COMMENT ON COLUMN market.candles_5m.origin IS 'what made the bar: sample, archive, blofin or ticks';
COMMENT ON COLUMN market.candles_5m.flag IS 'null for a sound bar, else why it is never traded on: single_price, incomplete, repaired; several joined by a comma';
COMMENT ON COLUMN market.candles_5m.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.candles_5m', ['symbol', 'ts']);

CREATE TABLE market.candles_60m (
    symbol VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    open DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    close DOUBLE NOT NULL,
    volume DOUBLE,
    quote_volume DOUBLE,
    contracts DOUBLE,
    minutes INTEGER NOT NULL,
    origin VARCHAR NOT NULL,
    flag VARCHAR,
    run_id VARCHAR NOT NULL
);
ALTER TABLE market.candles_60m SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE market.candles_60m IS 'Closed bars of 60 minutes. A bar that is missing has no row.';
COMMENT ON COLUMN market.candles_60m.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.candles_60m.ts IS 'opening time of the bar (UTC)';
COMMENT ON COLUMN market.candles_60m.open IS 'first price, in quote currency';
COMMENT ON COLUMN market.candles_60m.high IS 'highest price, in quote currency';
COMMENT ON COLUMN market.candles_60m.low IS 'lowest price, in quote currency';
COMMENT ON COLUMN market.candles_60m.close IS 'last price, in quote currency';
COMMENT ON COLUMN market.candles_60m.volume IS 'traded amount, in base units; null where unknown';
COMMENT ON COLUMN market.candles_60m.quote_volume IS 'traded amount, in quote currency; null where unknown';
COMMENT ON COLUMN market.candles_60m.contracts IS 'traded contracts; null where unknown';
COMMENT ON COLUMN market.candles_60m.minutes IS 'number of 1-minute bars inside';
COMMENT ON COLUMN market.candles_60m.origin IS 'what made the bar: sample, archive, blofin or ticks';
COMMENT ON COLUMN market.candles_60m.flag IS 'null for a sound bar, else why it is never traded on: single_price, incomplete, repaired; several joined by a comma';
COMMENT ON COLUMN market.candles_60m.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.candles_60m', ['symbol', 'ts']);

CREATE TABLE market.candles_1d (
    symbol VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    open DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    close DOUBLE NOT NULL,
    volume DOUBLE,
    quote_volume DOUBLE,
    contracts DOUBLE,
    minutes INTEGER NOT NULL,
    origin VARCHAR NOT NULL,
    flag VARCHAR,
    run_id VARCHAR NOT NULL
);
ALTER TABLE market.candles_1d SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE market.candles_1d IS 'Closed bars of one UTC day. A bar that is missing has no row.';
COMMENT ON COLUMN market.candles_1d.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.candles_1d.ts IS 'opening time of the bar (UTC)';
COMMENT ON COLUMN market.candles_1d.open IS 'first price, in quote currency';
COMMENT ON COLUMN market.candles_1d.high IS 'highest price, in quote currency';
COMMENT ON COLUMN market.candles_1d.low IS 'lowest price, in quote currency';
COMMENT ON COLUMN market.candles_1d.close IS 'last price, in quote currency';
COMMENT ON COLUMN market.candles_1d.volume IS 'traded amount, in base units; null where unknown';
COMMENT ON COLUMN market.candles_1d.quote_volume IS 'traded amount, in quote currency; null where unknown';
COMMENT ON COLUMN market.candles_1d.contracts IS 'traded contracts; null where unknown';
COMMENT ON COLUMN market.candles_1d.minutes IS 'number of 1-minute bars inside';
COMMENT ON COLUMN market.candles_1d.origin IS 'what made the bar: sample, archive, blofin or ticks';
COMMENT ON COLUMN market.candles_1d.flag IS 'null for a sound bar, else why it is never traded on: single_price, incomplete, repaired; several joined by a comma';
COMMENT ON COLUMN market.candles_1d.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.candles_1d', ['symbol', 'ts']);

CREATE TABLE market.funding_rates (
    symbol VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    rate DOUBLE NOT NULL,
    origin VARCHAR,
    run_id VARCHAR NOT NULL
);
ALTER TABLE market.funding_rates SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE market.funding_rates IS 'Funding payments. A positive rate is paid by longs to shorts.';
COMMENT ON COLUMN market.funding_rates.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.funding_rates.ts IS 'time of the payment (UTC)';
COMMENT ON COLUMN market.funding_rates.rate IS 'payment, as a fraction of notional';
COMMENT ON COLUMN market.funding_rates.origin IS 'what gave the row: sample, archive, blofin or ticks';
COMMENT ON COLUMN market.funding_rates.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.funding_rates', ['symbol', 'ts']);

CREATE TABLE market.coverage (
    dataset VARCHAR NOT NULL,
    symbol VARCHAR NOT NULL,
    day DATE NOT NULL,
    through TIMESTAMPTZ NOT NULL,
    rows INTEGER NOT NULL,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE market.coverage IS 'How far each day is stored: everything that the source had up to `through` is in the dataset.';
COMMENT ON COLUMN market.coverage.dataset IS 'table without its schema, such as candles_1m or features_5m';
COMMENT ON COLUMN market.coverage.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.coverage.day IS 'UTC day';
COMMENT ON COLUMN market.coverage.through IS 'time up to which the day is complete (UTC); the next midnight for a whole day';
COMMENT ON COLUMN market.coverage.rows IS 'number of rows stored for that day';
COMMENT ON COLUMN market.coverage.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.coverage', ['dataset', 'symbol', 'day']);

CREATE TABLE market.gaps (
    symbol VARCHAR NOT NULL,
    from_ts TIMESTAMPTZ NOT NULL,
    to_ts TIMESTAMPTZ NOT NULL,
    bars INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    found_at TIMESTAMPTZ NOT NULL,
    closed_at TIMESTAMPTZ,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE market.gaps IS 'Stretches for which the source had no 1-minute bars. They are never filled.';
COMMENT ON COLUMN market.gaps.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.gaps.from_ts IS 'opening time of the first missing bar (UTC)';
COMMENT ON COLUMN market.gaps.to_ts IS 'opening time of the first bar after the gap (UTC)';
COMMENT ON COLUMN market.gaps.bars IS 'number of missing 1-minute bars';
COMMENT ON COLUMN market.gaps.kind IS 'why they are missing, as far as known';
COMMENT ON COLUMN market.gaps.found_at IS 'as-of at which the gap was found (UTC)';
COMMENT ON COLUMN market.gaps.closed_at IS 'as-of at which the source had filled it (UTC); null while open';
COMMENT ON COLUMN market.gaps.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.gaps', ['symbol', 'from_ts']);

CREATE TABLE market.candle_revisions (
    symbol VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    field VARCHAR NOT NULL,
    old_value VARCHAR,
    new_value VARCHAR,
    seen_at TIMESTAMPTZ NOT NULL,
    run_id VARCHAR NOT NULL
);
ALTER TABLE market.candle_revisions SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE market.candle_revisions IS 'Values of stored 1-minute bars that the source gave differently later.';
COMMENT ON COLUMN market.candle_revisions.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.candle_revisions.ts IS 'opening time of the bar (UTC)';
COMMENT ON COLUMN market.candle_revisions.field IS 'column of candles_1m';
COMMENT ON COLUMN market.candle_revisions.old_value IS 'value before, as text, in the unit of the column';
COMMENT ON COLUMN market.candle_revisions.new_value IS 'value after, as text, in the unit of the column';
COMMENT ON COLUMN market.candle_revisions.seen_at IS 'as-of at which the revision was seen (UTC)';
COMMENT ON COLUMN market.candle_revisions.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.candle_revisions', ['symbol', 'ts', 'field', 'seen_at']);
