-- Positioning data: what traders hold, where a source says so.

CREATE TABLE market.positioning (
    symbol VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    open_interest DOUBLE,
    open_interest_value DOUBLE,
    top_accounts_ratio DOUBLE,
    top_positions_ratio DOUBLE,
    accounts_ratio DOUBLE,
    taker_ratio DOUBLE,
    origin VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
ALTER TABLE market.positioning SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE market.positioning IS 'Open interest and ratios of longs to shorts, as the source gives them. Null is unknown.';
COMMENT ON COLUMN market.positioning.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.positioning.ts IS 'time at which the values were known (UTC)';
COMMENT ON COLUMN market.positioning.open_interest IS 'open interest in base units';
COMMENT ON COLUMN market.positioning.open_interest_value IS 'open interest in quote currency';
COMMENT ON COLUMN market.positioning.top_accounts_ratio IS 'accounts of the largest traders that are long, per account that is short';
COMMENT ON COLUMN market.positioning.top_positions_ratio IS 'positions of the largest traders that are long, as a ratio to those that are short';
COMMENT ON COLUMN market.positioning.accounts_ratio IS 'accounts that are long, per account that is short';
COMMENT ON COLUMN market.positioning.taker_ratio IS 'volume that takers bought, as a ratio to the volume that they sold';
COMMENT ON COLUMN market.positioning.origin IS 'what gave the row: archive';
COMMENT ON COLUMN market.positioning.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.positioning', ['symbol', 'ts']);

COMMENT ON TABLE market.candle_revisions IS 'Values of stored bars, of mark-price bars, funding payments and positioning data that the source gave differently later, and of fetched hours that differ from what their minutes make.';
COMMENT ON COLUMN market.candle_revisions.field IS 'column of candles_1m or positioning, the same after mark_ for mark_candles_1m, after deep_60m_ or deep_1d_ for deep history, after minutes_60m_ for hours that differ from their minutes (before: made of minutes, after: fetched); funding_rate or deep_funding_rate for a payment';
COMMENT ON COLUMN market.candle_revisions.ts IS 'opening time of the bar, or time of the payment or of the positioning data (UTC)';
