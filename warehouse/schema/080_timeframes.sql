-- Bars of 15 minutes and of 4 hours, made of 1-minute bars as those of 5 and 60 are.
CREATE TABLE market.candles_15m (
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
ALTER TABLE market.candles_15m SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE market.candles_15m IS 'Closed bars of 15 minutes. A bar that is missing has no row.';
COMMENT ON COLUMN market.candles_15m.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.candles_15m.ts IS 'opening time of the bar (UTC)';
COMMENT ON COLUMN market.candles_15m.open IS 'first price, in quote currency';
COMMENT ON COLUMN market.candles_15m.high IS 'highest price, in quote currency';
COMMENT ON COLUMN market.candles_15m.low IS 'lowest price, in quote currency';
COMMENT ON COLUMN market.candles_15m.close IS 'last price, in quote currency';
COMMENT ON COLUMN market.candles_15m.volume IS 'traded amount, in base units; null where unknown';
COMMENT ON COLUMN market.candles_15m.quote_volume IS 'traded amount, in quote currency; null where unknown';
COMMENT ON COLUMN market.candles_15m.contracts IS 'traded contracts; null where unknown';
COMMENT ON COLUMN market.candles_15m.minutes IS 'number of 1-minute bars inside';
COMMENT ON COLUMN market.candles_15m.origin IS 'what made the bar: sample, archive, blofin or ticks';
COMMENT ON COLUMN market.candles_15m.flag IS 'null for a sound bar, else why it is never traded on: single_price, incomplete, repaired; several joined by a comma';
COMMENT ON COLUMN market.candles_15m.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.candles_15m', ['symbol', 'ts']);

CREATE TABLE market.candles_4h (
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
ALTER TABLE market.candles_4h SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE market.candles_4h IS 'Closed bars of 4 hours. A bar that is missing has no row.';
COMMENT ON COLUMN market.candles_4h.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.candles_4h.ts IS 'opening time of the bar (UTC)';
COMMENT ON COLUMN market.candles_4h.open IS 'first price, in quote currency';
COMMENT ON COLUMN market.candles_4h.high IS 'highest price, in quote currency';
COMMENT ON COLUMN market.candles_4h.low IS 'lowest price, in quote currency';
COMMENT ON COLUMN market.candles_4h.close IS 'last price, in quote currency';
COMMENT ON COLUMN market.candles_4h.volume IS 'traded amount, in base units; null where unknown';
COMMENT ON COLUMN market.candles_4h.quote_volume IS 'traded amount, in quote currency; null where unknown';
COMMENT ON COLUMN market.candles_4h.contracts IS 'traded contracts; null where unknown';
COMMENT ON COLUMN market.candles_4h.minutes IS 'number of 1-minute bars inside';
COMMENT ON COLUMN market.candles_4h.origin IS 'what made the bar: sample, archive, blofin or ticks';
COMMENT ON COLUMN market.candles_4h.flag IS 'null for a sound bar, else why it is never traded on: single_price, incomplete, repaired; several joined by a comma';
COMMENT ON COLUMN market.candles_4h.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.candles_4h', ['symbol', 'ts']);
