-- The bars of which longer ones are made need not be minutes: an archive may have none.
COMMENT ON COLUMN market.candles_1m.minutes IS 'minutes of the bar that the bars cover of which it is made; divided by the length of these (market.bases) their number';
COMMENT ON COLUMN market.candles_5m.minutes IS 'minutes of the bar that the bars cover of which it is made; divided by the length of these (market.bases) their number';
COMMENT ON COLUMN market.candles_15m.minutes IS 'minutes of the bar that the bars cover of which it is made; divided by the length of these (market.bases) their number';
COMMENT ON COLUMN market.candles_60m.minutes IS 'minutes of the bar that the bars cover of which it is made; divided by the length of these (market.bases) their number';
COMMENT ON COLUMN market.candles_4h.minutes IS 'minutes of the bar that the bars cover of which it is made; divided by the length of these (market.bases) their number';
COMMENT ON COLUMN market.candles_1d.minutes IS 'minutes of the bar that the bars cover of which it is made; divided by the length of these (market.bases) their number';
COMMENT ON COLUMN market.gaps.bars IS 'number of bars that are missing, of the symbol''s shortest (market.bases)';
