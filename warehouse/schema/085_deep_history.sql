-- Deep history: bars of an hour and a day over years, fetched as such, and the universe that is chosen from them.
CREATE TABLE market.listings (
    symbol VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    list_time TIMESTAMPTZ,
    delist_time TIMESTAMPTZ,
    state VARCHAR NOT NULL,
    origin VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE market.listings IS 'Symbols that the source has bars of an hour or a day of, delisted ones included; one row per change.';
COMMENT ON COLUMN market.listings.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.listings.as_of IS 'when the description held (UTC)';
COMMENT ON COLUMN market.listings.list_time IS 'when trading began, or the first bar (UTC); null where unknown';
COMMENT ON COLUMN market.listings.delist_time IS 'when trading ended (UTC); null where it goes on or the time is unknown';
COMMENT ON COLUMN market.listings.state IS 'state of trading: delisted, or in the source''s words, such as live';
COMMENT ON COLUMN market.listings.origin IS 'what gave the row: sample, archive or blofin';
COMMENT ON COLUMN market.listings.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.listings', ['symbol', 'as_of']);

CREATE TABLE market.deep_60m (
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
ALTER TABLE market.deep_60m SET PARTITIONED BY (year(ts));
COMMENT ON TABLE market.deep_60m IS 'Closed bars of 60 minutes over years, of every symbol that was a member of the universe. A bar that is missing has no row.';
COMMENT ON COLUMN market.deep_60m.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.deep_60m.ts IS 'opening time of the bar (UTC)';
COMMENT ON COLUMN market.deep_60m.open IS 'first price, in quote currency';
COMMENT ON COLUMN market.deep_60m.high IS 'highest price, in quote currency';
COMMENT ON COLUMN market.deep_60m.low IS 'lowest price, in quote currency';
COMMENT ON COLUMN market.deep_60m.close IS 'last price, in quote currency';
COMMENT ON COLUMN market.deep_60m.volume IS 'traded amount, in base units; null where unknown';
COMMENT ON COLUMN market.deep_60m.quote_volume IS 'traded amount, in quote currency; null where unknown';
COMMENT ON COLUMN market.deep_60m.contracts IS 'traded contracts; null where unknown';
COMMENT ON COLUMN market.deep_60m.minutes IS 'minutes that the bar stands for: its length, or fewer where it was made of shorter bars and some were missing';
COMMENT ON COLUMN market.deep_60m.origin IS 'what made the bar: sample, archive or blofin';
COMMENT ON COLUMN market.deep_60m.flag IS 'null for a sound bar, else why it is never traded on: single_price, incomplete; several joined by a comma';
COMMENT ON COLUMN market.deep_60m.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.deep_60m', ['symbol', 'ts']);

CREATE TABLE market.deep_1d (
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
ALTER TABLE market.deep_1d SET PARTITIONED BY (year(ts));
COMMENT ON TABLE market.deep_1d IS 'Closed bars of a day over years, of every symbol listed. A bar that is missing has no row.';
COMMENT ON COLUMN market.deep_1d.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.deep_1d.ts IS 'opening time of the bar (UTC)';
COMMENT ON COLUMN market.deep_1d.open IS 'first price, in quote currency';
COMMENT ON COLUMN market.deep_1d.high IS 'highest price, in quote currency';
COMMENT ON COLUMN market.deep_1d.low IS 'lowest price, in quote currency';
COMMENT ON COLUMN market.deep_1d.close IS 'last price, in quote currency';
COMMENT ON COLUMN market.deep_1d.volume IS 'traded amount, in base units; null where unknown';
COMMENT ON COLUMN market.deep_1d.quote_volume IS 'traded amount, in quote currency; null where unknown';
COMMENT ON COLUMN market.deep_1d.contracts IS 'traded contracts; null where unknown';
COMMENT ON COLUMN market.deep_1d.minutes IS 'minutes that the bar stands for: its length, or fewer where it was made of shorter bars and some were missing';
COMMENT ON COLUMN market.deep_1d.origin IS 'what made the bar: sample, archive or blofin';
COMMENT ON COLUMN market.deep_1d.flag IS 'null for a sound bar, else why it is never traded on: single_price, incomplete; several joined by a comma';
COMMENT ON COLUMN market.deep_1d.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.deep_1d', ['symbol', 'ts']);

CREATE TABLE market.deep_funding (
    symbol VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    rate DOUBLE NOT NULL,
    origin VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
ALTER TABLE market.deep_funding SET PARTITIONED BY (year(ts));
COMMENT ON TABLE market.deep_funding IS 'Funding payments over years, of every symbol that was a member of the universe.';
COMMENT ON COLUMN market.deep_funding.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.deep_funding.ts IS 'time of the payment (UTC)';
COMMENT ON COLUMN market.deep_funding.rate IS 'payment as a fraction of notional; longs pay where positive';
COMMENT ON COLUMN market.deep_funding.origin IS 'what gave the row: sample, archive or blofin';
COMMENT ON COLUMN market.deep_funding.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.deep_funding', ['symbol', 'ts']);

CREATE TABLE market.deep_coverage (
    dataset VARCHAR NOT NULL,
    symbol VARCHAR NOT NULL,
    requested_from TIMESTAMPTZ NOT NULL,
    requested_to TIMESTAMPTZ NOT NULL,
    through TIMESTAMPTZ,
    rows INTEGER NOT NULL,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE market.deep_coverage IS 'How far deep history of a symbol was requested, and what is stored of it.';
COMMENT ON COLUMN market.deep_coverage.dataset IS 'table without its schema, such as deep_60m';
COMMENT ON COLUMN market.deep_coverage.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.deep_coverage.requested_from IS 'begin of the history requested (UTC)';
COMMENT ON COLUMN market.deep_coverage.requested_to IS 'end of the history requested (UTC)';
COMMENT ON COLUMN market.deep_coverage.through IS 'close of the last bar, or time of the last payment (UTC), where the next request begins; null without any';
COMMENT ON COLUMN market.deep_coverage.rows IS 'rows stored';
COMMENT ON COLUMN market.deep_coverage.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.deep_coverage', ['dataset', 'symbol']);

CREATE TABLE market.deep_gaps (
    dataset VARCHAR NOT NULL,
    symbol VARCHAR NOT NULL,
    from_ts TIMESTAMPTZ NOT NULL,
    to_ts TIMESTAMPTZ NOT NULL,
    bars INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    found_at TIMESTAMPTZ NOT NULL,
    closed_at TIMESTAMPTZ,
    looked_at TIMESTAMPTZ NOT NULL,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE market.deep_gaps IS 'Missing bars of deep history, by day. They are never filled.';
COMMENT ON COLUMN market.deep_gaps.dataset IS 'deep_60m or deep_1d';
COMMENT ON COLUMN market.deep_gaps.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.deep_gaps.from_ts IS 'opening time of the first missing bar (UTC)';
COMMENT ON COLUMN market.deep_gaps.to_ts IS 'opening time of the first bar after the gap, at most the end of the day (UTC)';
COMMENT ON COLUMN market.deep_gaps.bars IS 'number of missing bars';
COMMENT ON COLUMN market.deep_gaps.kind IS 'why they are missing: source_hole, or single_price where bars are there that no trading made';
COMMENT ON COLUMN market.deep_gaps.found_at IS 'as-of at which the gap was found (UTC)';
COMMENT ON COLUMN market.deep_gaps.closed_at IS 'as-of at which the source had filled it (UTC); null while open';
COMMENT ON COLUMN market.deep_gaps.looked_at IS 'as-of of the last look for it (UTC)';
COMMENT ON COLUMN market.deep_gaps.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.deep_gaps', ['dataset', 'symbol', 'from_ts']);

CREATE TABLE market.universe (
    day DATE NOT NULL,
    symbol VARCHAR NOT NULL,
    rank INTEGER,
    member BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL,
    quote_volume DOUBLE,
    run_id VARCHAR NOT NULL
);
ALTER TABLE market.universe SET PARTITIONED BY (year(day));
COMMENT ON TABLE market.universe IS 'Which symbols make up the universe on each day, decided at its beginning from closed days alone.';
COMMENT ON COLUMN market.universe.day IS 'UTC day';
COMMENT ON COLUMN market.universe.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN market.universe.rank IS 'place by quote volume among the eligible symbols, the largest first; null where not eligible';
COMMENT ON COLUMN market.universe.member IS 'whether the symbol is in the universe on this day';
COMMENT ON COLUMN market.universe.reason IS 'top, below_top, all or chosen_today (a list written by hand, which knows who survived); too_new: listed for less than 30 days; not_traded: without a bar on the last closed day; not_chosen';
COMMENT ON COLUMN market.universe.quote_volume IS 'median quote volume of a day over the 30 closed days before, in quote currency; a day without a bar counts as zero; null where not eligible';
COMMENT ON COLUMN market.universe.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('market.universe', ['day', 'symbol']);

COMMENT ON TABLE market.candle_revisions IS 'Values of stored bars, of mark-price bars and funding payments that the source gave differently later, and of fetched hours that differ from what their minutes make.';
COMMENT ON COLUMN market.candle_revisions.field IS 'column of candles_1m, the same after mark_ for mark_candles_1m, after deep_60m_ or deep_1d_ for deep history, after minutes_60m_ for hours that differ from their minutes (before: made of minutes, after: fetched); funding_rate or deep_funding_rate for a payment';
