-- Mark-price candles: what liquidations of leveraged positions go by, and how a lane's were decided.

CREATE TABLE market.mark_candles_1m (
    symbol VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    open DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    low DOUBLE NOT NULL,
    close DOUBLE NOT NULL,
    origin VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
ALTER TABLE market.mark_candles_1m SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE market.mark_candles_1m IS 'Closed bars of one minute of the mark price, by which the exchange liquidates. A bar that is missing has no row.';
COMMENT ON COLUMN market.mark_candles_1m.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.mark_candles_1m.ts IS 'opening time of the bar (UTC)';
COMMENT ON COLUMN market.mark_candles_1m.open IS 'first mark price, in quote currency';
COMMENT ON COLUMN market.mark_candles_1m.high IS 'highest mark price, in quote currency';
COMMENT ON COLUMN market.mark_candles_1m.low IS 'lowest mark price, in quote currency';
COMMENT ON COLUMN market.mark_candles_1m.close IS 'last mark price, in quote currency';
COMMENT ON COLUMN market.mark_candles_1m.origin IS 'what gave the bar: archive or blofin';
COMMENT ON COLUMN market.mark_candles_1m.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.mark_candles_1m', ['symbol', 'ts']);

COMMENT ON TABLE market.candle_revisions IS 'Values of stored 1-minute bars, of mark-price bars and funding payments that the source gave differently later.';
COMMENT ON COLUMN market.candle_revisions.field IS 'column of candles_1m, the same after mark_ for mark_candles_1m, or funding_rate for the rate of funding_rates';

ALTER TABLE research.strategy_backtest_results ADD COLUMN liquidation_price VARCHAR;
COMMENT ON COLUMN research.strategy_backtest_results.liquidation_price IS 'prices by which positions above 1x leverage were liquidated: mark, last, or mixed where mark prices are missing on some bars; last where nothing was leveraged';
