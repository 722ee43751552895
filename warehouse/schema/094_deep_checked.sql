-- How far deep history has passed its check, and changed listings among the revisions.
ALTER TABLE market.deep_coverage ADD COLUMN sound_to TIMESTAMPTZ;
COMMENT ON COLUMN market.deep_coverage.sound_to IS 'bars before it have passed their check since they were stored (UTC); null where none have, and of funding';

COMMENT ON TABLE market.candle_revisions IS 'Values of stored bars, of mark-price bars, funding payments, positioning data and listings that the source gave differently later, and of fetched hours that differ from what their minutes make.';
COMMENT ON COLUMN market.candle_revisions.field IS 'column of candles_1m or positioning, the same after mark_ for mark_candles_1m, after deep_60m_ or deep_1d_ for deep history, after listing_ for listings, after minutes_60m_ for hours that differ from their minutes (before: made of minutes, after: fetched); funding_rate or deep_funding_rate for a payment';
COMMENT ON COLUMN market.candle_revisions.ts IS 'opening time of the bar, time of the payment or of the positioning data, or as-of of the listing (UTC)';
