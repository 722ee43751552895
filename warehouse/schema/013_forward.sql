-- What is followed forward, how its replay agrees, and whether it kept its promise.
CREATE TABLE research.forward_entries (
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    activated_at TIMESTAMPTZ NOT NULL,
    symbol VARCHAR NOT NULL,
    timeframe VARCHAR NOT NULL,
    signal_ts TIMESTAMPTZ NOT NULL,
    side VARCHAR NOT NULL,
    entry_ts TIMESTAMPTZ NOT NULL,
    entry_price DOUBLE NOT NULL,
    quantity DOUBLE NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    snapshot_id BIGINT,
    engine VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
ALTER TABLE research.forward_entries SET PARTITIONED BY (year(entry_ts), month(entry_ts));
INSERT INTO meta.table_keys VALUES ('research.forward_entries', ['kind', 'name', 'version', 'activated_at', 'symbol', 'timeframe', 'entry_ts']);
COMMENT ON TABLE research.forward_entries IS 'Forward ledger: every entry of what was followed, with the signal behind it, written once when it was first seen; open positions are those without a row in research.forward_trades.';
COMMENT ON COLUMN research.forward_entries.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.forward_entries.name IS 'name of what is followed';
COMMENT ON COLUMN research.forward_entries.version IS 'its version; of models and ensembles the one that was in force';
COMMENT ON COLUMN research.forward_entries.activated_at IS 'moment from which it is followed, flat (UTC)';
COMMENT ON COLUMN research.forward_entries.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN research.forward_entries.timeframe IS '1m, 5m or 60m';
COMMENT ON COLUMN research.forward_entries.signal_ts IS 'opening time of the bar at whose close the signal came (UTC)';
COMMENT ON COLUMN research.forward_entries.side IS 'long or short';
COMMENT ON COLUMN research.forward_entries.entry_ts IS 'opening time of the bar of the entry (UTC)';
COMMENT ON COLUMN research.forward_entries.entry_price IS 'entry fill after slippage, in quote currency';
COMMENT ON COLUMN research.forward_entries.quantity IS 'size of the position, in base units';
COMMENT ON COLUMN research.forward_entries.as_of IS 'key of the ledger that wrote the row (UTC): nothing later was known';
COMMENT ON COLUMN research.forward_entries.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN research.forward_entries.engine IS 'hash of the code that turns signals into fills';
COMMENT ON COLUMN research.forward_entries.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.forward_trades (
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    activated_at TIMESTAMPTZ NOT NULL,
    symbol VARCHAR NOT NULL,
    timeframe VARCHAR NOT NULL,
    signal_ts TIMESTAMPTZ NOT NULL,
    side VARCHAR NOT NULL,
    entry_ts TIMESTAMPTZ NOT NULL,
    entry_price DOUBLE NOT NULL,
    quantity DOUBLE NOT NULL,
    exit_ts TIMESTAMPTZ NOT NULL,
    exit_price DOUBLE NOT NULL,
    pnl DOUBLE NOT NULL,
    fees DOUBLE NOT NULL,
    funding DOUBLE NOT NULL,
    slippage DOUBLE NOT NULL,
    pnl_pct DOUBLE NOT NULL,
    exit_reason VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    snapshot_id BIGINT,
    engine VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
ALTER TABLE research.forward_trades SET PARTITIONED BY (year(entry_ts), month(entry_ts));
INSERT INTO meta.table_keys VALUES ('research.forward_trades', ['kind', 'name', 'version', 'activated_at', 'symbol', 'timeframe', 'entry_ts']);
COMMENT ON TABLE research.forward_trades IS 'Forward ledger: every closed trade of what was followed, on data after its activation; each row is written once, when it was first seen closed, and never changed.';
COMMENT ON COLUMN research.forward_trades.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.forward_trades.name IS 'name of what is followed';
COMMENT ON COLUMN research.forward_trades.version IS 'its version; of models and ensembles the one that was in force';
COMMENT ON COLUMN research.forward_trades.activated_at IS 'moment from which it is followed, flat (UTC)';
COMMENT ON COLUMN research.forward_trades.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN research.forward_trades.timeframe IS '1m, 5m or 60m';
COMMENT ON COLUMN research.forward_trades.signal_ts IS 'opening time of the bar at whose close the signal came (UTC)';
COMMENT ON COLUMN research.forward_trades.side IS 'long or short';
COMMENT ON COLUMN research.forward_trades.entry_ts IS 'opening time of the bar of the entry (UTC)';
COMMENT ON COLUMN research.forward_trades.entry_price IS 'entry fill after slippage, in quote currency';
COMMENT ON COLUMN research.forward_trades.quantity IS 'size of the position, in base units';
COMMENT ON COLUMN research.forward_trades.exit_ts IS 'opening time of the bar of the exit (UTC)';
COMMENT ON COLUMN research.forward_trades.exit_price IS 'exit fill after slippage, in quote currency';
COMMENT ON COLUMN research.forward_trades.pnl IS 'profit before fees and funding, slippage inside, in quote currency';
COMMENT ON COLUMN research.forward_trades.fees IS 'fees of both sides, in quote currency';
COMMENT ON COLUMN research.forward_trades.funding IS 'funding paid (negative: received), in quote currency';
COMMENT ON COLUMN research.forward_trades.slippage IS 'slippage of both sides, already inside pnl, in quote currency';
COMMENT ON COLUMN research.forward_trades.pnl_pct IS 'net profit after all costs, in percent of the entry notional';
COMMENT ON COLUMN research.forward_trades.exit_reason IS 'what closed it: signal, reversal, time, stop, trail, target or liquidation';
COMMENT ON COLUMN research.forward_trades.as_of IS 'key of the ledger that wrote the row (UTC): nothing later was known';
COMMENT ON COLUMN research.forward_trades.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN research.forward_trades.engine IS 'hash of the code that turns signals into fills';
COMMENT ON COLUMN research.forward_trades.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.forward_equity (
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    activated_at TIMESTAMPTZ NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    net_return DOUBLE NOT NULL,
    equity DOUBLE NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    snapshot_id BIGINT,
    engine VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
ALTER TABLE research.forward_equity SET PARTITIONED BY (year(ts), month(ts));
INSERT INTO meta.table_keys VALUES ('research.forward_equity', ['kind', 'name', 'activated_at', 'ts', 'version']);
COMMENT ON TABLE research.forward_equity IS 'Forward ledger: hourly net return of what is followed, pooled over its lanes, each hour written once.';
COMMENT ON COLUMN research.forward_equity.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.forward_equity.name IS 'name of what is followed';
COMMENT ON COLUMN research.forward_equity.version IS 'its version; of models and ensembles the one that was in force';
COMMENT ON COLUMN research.forward_equity.activated_at IS 'moment from which it is followed, flat (UTC)';
COMMENT ON COLUMN research.forward_equity.ts IS 'full hour that ends the return (UTC)';
COMMENT ON COLUMN research.forward_equity.net_return IS 'net return of the hour, a fraction';
COMMENT ON COLUMN research.forward_equity.equity IS 'equity at ts, as a multiple of the capital at activation';
COMMENT ON COLUMN research.forward_equity.as_of IS 'key of the ledger that wrote the row (UTC): nothing later was known';
COMMENT ON COLUMN research.forward_equity.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN research.forward_equity.engine IS 'hash of the code that turns signals into fills';
COMMENT ON COLUMN research.forward_equity.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.forward_runs (
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    activated_at TIMESTAMPTZ NOT NULL,
    ends_at TIMESTAMPTZ,
    state VARCHAR NOT NULL,
    detail VARCHAR,
    days DOUBLE NOT NULL,
    trades INTEGER NOT NULL,
    open_positions INTEGER NOT NULL,
    total_pnl_pct DOUBLE,
    compared INTEGER NOT NULL,
    data_revisions INTEGER NOT NULL,
    version_changes INTEGER NOT NULL,
    look_ahead INTEGER NOT NULL,
    snapshot_id BIGINT,
    engine VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.forward_runs', ['as_of', 'kind', 'name', 'version', 'activated_at']);
COMMENT ON TABLE research.forward_runs IS 'What the forward ledger followed at each of its keys, and how the replay of the whole period agreed with the ledger.';
COMMENT ON COLUMN research.forward_runs.as_of IS 'key of the ledger (UTC)';
COMMENT ON COLUMN research.forward_runs.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.forward_runs.name IS 'name of what is followed';
COMMENT ON COLUMN research.forward_runs.version IS 'its version; of models and ensembles the one that was in force';
COMMENT ON COLUMN research.forward_runs.activated_at IS 'moment from which it is followed, flat (UTC)';
COMMENT ON COLUMN research.forward_runs.ends_at IS 'moment at which it is followed no longer (UTC): one cycle after it was replaced; null while active';
COMMENT ON COLUMN research.forward_runs.state IS 'followed, or lost: its code or files are no longer there';
COMMENT ON COLUMN research.forward_runs.detail IS 'why it is lost, in words';
COMMENT ON COLUMN research.forward_runs.days IS 'days from activation to the as-of, or to its end';
COMMENT ON COLUMN research.forward_runs.trades IS 'closed trades in the ledger';
COMMENT ON COLUMN research.forward_runs.open_positions IS 'positions open at the as-of';
COMMENT ON COLUMN research.forward_runs.total_pnl_pct IS 'net change of the ledger''s equity since activation, in percent; null while there is none';
COMMENT ON COLUMN research.forward_runs.compared IS 'entries and trades of earlier keys that the replay was compared with';
COMMENT ON COLUMN research.forward_runs.data_revisions IS 'differences that revised or late data explain';
COMMENT ON COLUMN research.forward_runs.version_changes IS 'differences that other code explains';
COMMENT ON COLUMN research.forward_runs.look_ahead IS 'differences that nothing explains: something read the future; must be 0';
COMMENT ON COLUMN research.forward_runs.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN research.forward_runs.engine IS 'hash of the code that turns signals into fills';
COMMENT ON COLUMN research.forward_runs.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.forward_validation (
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    activated_at TIMESTAMPTZ NOT NULL,
    symbol VARCHAR NOT NULL,
    timeframe VARCHAR NOT NULL,
    entry_ts TIMESTAMPTZ NOT NULL,
    item VARCHAR NOT NULL,
    difference VARCHAR NOT NULL,
    differing VARCHAR,
    ledger VARCHAR,
    replay VARCHAR,
    attribution VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.forward_validation', ['kind', 'name', 'version', 'activated_at', 'symbol', 'timeframe', 'entry_ts', 'item', 'difference']);
COMMENT ON TABLE research.forward_validation IS 'Differences between the forward ledger and a later replay of its period, each noted once, with what explains it.';
COMMENT ON COLUMN research.forward_validation.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.forward_validation.name IS 'name of what is followed';
COMMENT ON COLUMN research.forward_validation.version IS 'its version; of models and ensembles the one that was in force';
COMMENT ON COLUMN research.forward_validation.activated_at IS 'moment from which it is followed, flat (UTC)';
COMMENT ON COLUMN research.forward_validation.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN research.forward_validation.timeframe IS '1m, 5m or 60m';
COMMENT ON COLUMN research.forward_validation.entry_ts IS 'opening time of the bar of the entry in question (UTC)';
COMMENT ON COLUMN research.forward_validation.item IS 'entry or trade';
COMMENT ON COLUMN research.forward_validation.difference IS 'only in ledger, only in replay, or other values';
COMMENT ON COLUMN research.forward_validation.differing IS 'columns that differ, as JSON list; null where a whole row does';
COMMENT ON COLUMN research.forward_validation.ledger IS 'values of the ledger in these columns, as JSON';
COMMENT ON COLUMN research.forward_validation.replay IS 'values of the replay in these columns, as JSON';
COMMENT ON COLUMN research.forward_validation.attribution IS 'data revision, version change or look-ahead';
COMMENT ON COLUMN research.forward_validation.reason IS 'what the attribution rests on, in words';
COMMENT ON COLUMN research.forward_validation.as_of IS 'key of the ledger at which it was first seen (UTC)';
COMMENT ON COLUMN research.forward_validation.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.drift (
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    activated_at TIMESTAMPTZ NOT NULL,
    metric VARCHAR NOT NULL,
    promise DOUBLE,
    promise_se DOUBLE,
    forward DOUBLE,
    difference DOUBLE,
    effect DOUBLE,
    low DOUBLE,
    high DOUBLE,
    p DOUBLE,
    q DOUBLE,
    trades INTEGER,
    rows INTEGER,
    days DOUBLE NOT NULL,
    promise_days DOUBLE,
    minimum_detectable DOUBLE,
    decision VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    snapshot_id BIGINT,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.drift', ['as_of', 'kind', 'name', 'version', 'activated_at', 'metric']);
COMMENT ON TABLE research.drift IS 'Each night, for all that is followed: what was promised, what came, and whether the difference is more than chance.';
COMMENT ON COLUMN research.drift.as_of IS 'night (UTC): nothing later was known';
COMMENT ON COLUMN research.drift.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.drift.name IS 'name of what is followed';
COMMENT ON COLUMN research.drift.version IS 'its version; of models and ensembles the one that was in force';
COMMENT ON COLUMN research.drift.activated_at IS 'moment from which it is followed, flat (UTC)';
COMMENT ON COLUMN research.drift.metric IS 'net_return (mean hourly net return, a fraction), accuracy (share of right predictions), log_loss (natural units, lower is better) or features (distance between distributions)';
COMMENT ON COLUMN research.drift.promise IS 'estimate at activation, in the unit of the metric: of the exam for strategies, of held-out data for models';
COMMENT ON COLUMN research.drift.promise_se IS 'its standard error, from blocks of 24 hours';
COMMENT ON COLUMN research.drift.forward IS 'estimate of the forward period, in the unit of the metric';
COMMENT ON COLUMN research.drift.difference IS 'promise less forward, turned so that above 0 is worse than promised';
COMMENT ON COLUMN research.drift.effect IS 'difference over the larger of |promise| and promise_se; the threshold is 0.1';
COMMENT ON COLUMN research.drift.low IS 'lower end of the 90 % bootstrap interval of difference';
COMMENT ON COLUMN research.drift.high IS 'upper end of the 90 % bootstrap interval of difference';
COMMENT ON COLUMN research.drift.p IS 'one-sided p-value of a difference of 0 or less; null where insufficient';
COMMENT ON COLUMN research.drift.q IS 'p adjusted by Benjamini and Hochberg over the night''s tests; the threshold is 0.1';
COMMENT ON COLUMN research.drift.trades IS 'closed trades of the forward period; null for metrics of predictions';
COMMENT ON COLUMN research.drift.rows IS 'predictions of the forward period; null for net_return';
COMMENT ON COLUMN research.drift.days IS 'days of the forward period';
COMMENT ON COLUMN research.drift.promise_days IS 'days behind the promise';
COMMENT ON COLUMN research.drift.minimum_detectable IS 'smallest difference that this night''s test would find with a probability of 80 %';
COMMENT ON COLUMN research.drift.decision IS 'drift, steady or insufficient';
COMMENT ON COLUMN research.drift.reason IS 'what the decision rests on, in words';
COMMENT ON COLUMN research.drift.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN research.drift.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.retunes (
    request VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    new_version VARCHAR,
    detail VARCHAR,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.retunes', ['request', 'kind', 'name']);
COMMENT ON TABLE research.retunes IS 'What failed drift checks set off, from the check to the new version.';
COMMENT ON COLUMN research.retunes.request IS 'key of the request: run of the check, and the record of its evaluation';
COMMENT ON COLUMN research.retunes.as_of IS 'night of the check (UTC)';
COMMENT ON COLUMN research.retunes.kind IS 'strategy or model';
COMMENT ON COLUMN research.retunes.name IS 'name of what drifted';
COMMENT ON COLUMN research.retunes.version IS 'version that drifted';
COMMENT ON COLUMN research.retunes.reason IS 'what the check found, in words';
COMMENT ON COLUMN research.retunes.state IS 'tuned (a challenger was made), retrained, unchanged (nothing better was found) or not run';
COMMENT ON COLUMN research.retunes.new_version IS 'the challenger, which takes the exam of the next cycle, or the retrained model; null where there is none';
COMMENT ON COLUMN research.retunes.detail IS 'more about it, in words';
COMMENT ON COLUMN research.retunes.run_id IS 'Dagster run that wrote the row';
