-- The active strategies held together, and how much of its window each lane had bars for.
CREATE TABLE research.active_set (
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    equity DOUBLE NOT NULL,
    members INTEGER NOT NULL,
    run_id VARCHAR NOT NULL
);
ALTER TABLE research.active_set SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE research.active_set IS 'Equity of what a cycle made active, held together at equal capital and never shifted between members, over that cycle''s exam window.';
COMMENT ON COLUMN research.active_set.as_of IS 'as-of of the cycle (UTC), end of the window';
COMMENT ON COLUMN research.active_set.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.active_set.ts IS 'full hour (UTC)';
COMMENT ON COLUMN research.active_set.equity IS 'mean equity of the members, starting capital = 1';
COMMENT ON COLUMN research.active_set.members IS 'number of active strategies, models or ensembles';
COMMENT ON COLUMN research.active_set.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.active_set', ['as_of', 'kind', 'ts']);

CREATE TABLE research.active_correlations (
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    other VARCHAR NOT NULL,
    correlation DOUBLE,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE research.active_correlations IS 'How the members of an active set move together: one row for each pair, the first by name.';
COMMENT ON COLUMN research.active_correlations.as_of IS 'as-of of the cycle (UTC), end of the window';
COMMENT ON COLUMN research.active_correlations.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.active_correlations.name IS 'one of the pair';
COMMENT ON COLUMN research.active_correlations.other IS 'the other, later by name';
COMMENT ON COLUMN research.active_correlations.correlation IS 'Pearson correlation of hourly pooled exam returns after costs, -1 to 1; null where one of the two never moved';
COMMENT ON COLUMN research.active_correlations.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.active_correlations', ['as_of', 'kind', 'name', 'other']);

ALTER TABLE research.strategy_backtest_results ADD COLUMN bars INTEGER;
ALTER TABLE research.strategy_backtest_results ADD COLUMN bars_expected INTEGER;
COMMENT ON COLUMN research.strategy_backtest_results.bars IS 'bars of the lane that exist in the window; those of all scored lanes in the pooled row';
COMMENT ON COLUMN research.strategy_backtest_results.bars_expected IS 'bars that a window without gaps has';

COMMENT ON TABLE market.candle_revisions IS 'Values of stored 1-minute bars and funding payments that the source gave differently later.';
COMMENT ON COLUMN market.candle_revisions.field IS 'column of candles_1m, or funding_rate for the rate of funding_rates';
COMMENT ON COLUMN market.candle_revisions.ts IS 'opening time of the bar, or time of the payment (UTC)';
