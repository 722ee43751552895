-- Strategies, what was tried, how it did and how it ranks.
CREATE SCHEMA IF NOT EXISTS research;

CREATE TABLE research.strategies (
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    author VARCHAR NOT NULL,
    parents VARCHAR,
    code VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE research.strategies IS 'Every version of every strategy, derived from its code.';
COMMENT ON COLUMN research.strategies.name IS 'name of the strategy';
COMMENT ON COLUMN research.strategies.version IS 'first 12 hexadecimal digits of the SHA-256 of source text and parameters';
COMMENT ON COLUMN research.strategies.source IS 'where the code comes from, such as library or designed';
COMMENT ON COLUMN research.strategies.author IS 'who wrote it: library, search or claude';
COMMENT ON COLUMN research.strategies.parents IS 'versions that it was made from, as JSON list';
COMMENT ON COLUMN research.strategies.code IS 'source text';
COMMENT ON COLUMN research.strategies.created_at IS 'as-of at which it was first seen (UTC)';
COMMENT ON COLUMN research.strategies.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.strategies', ['name', 'version']);

CREATE TABLE research.strategy_events (
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    event VARCHAR NOT NULL,
    "at" TIMESTAMPTZ NOT NULL,
    reason VARCHAR,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE research.strategy_events IS 'Lifecycle of strategies, append-only; the current state is the view research.strategy_state.';
COMMENT ON COLUMN research.strategy_events.name IS 'name of the strategy';
COMMENT ON COLUMN research.strategy_events.version IS 'version of the strategy';
COMMENT ON COLUMN research.strategy_events.event IS 'state that begins: candidate, active, tuning or archived';
COMMENT ON COLUMN research.strategy_events."at" IS 'as-of at which it begins (UTC); an SQL keyword: quote it';
COMMENT ON COLUMN research.strategy_events.reason IS 'why, in words';
COMMENT ON COLUMN research.strategy_events.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.strategy_events', ['name', 'version', 'event', 'at']);

CREATE TABLE research.strategy_backtest_results (
    id VARCHAR NOT NULL,
    strategy_name VARCHAR NOT NULL,
    "timestamp" TIMESTAMPTZ NOT NULL,
    backtest_period VARCHAR NOT NULL,
    win_rate DOUBLE,
    avg_pnl_pct DOUBLE,
    sharpe DOUBLE,
    max_drawdown DOUBLE,
    total_trades INTEGER,
    score DOUBLE,
    status VARCHAR,
    tuning_attempt INTEGER,
    design_prompt VARCHAR,
    version VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    symbol VARCHAR NOT NULL,
    timeframe VARCHAR NOT NULL,
    sharpe_se DOUBLE,
    sortino DOUBLE,
    profit_factor DOUBLE,
    exposure DOUBLE,
    turnover DOUBLE,
    total_pnl_pct DOUBLE,
    fees_pct DOUBLE,
    slippage_pct DOUBLE,
    funding_pct DOUBLE,
    funding_known DOUBLE,
    score_win_rate DOUBLE,
    score_avg_pnl DOUBLE,
    score_sharpe DOUBLE,
    score_drawdown DOUBLE,
    window_start TIMESTAMPTZ NOT NULL,
    window_end TIMESTAMPTZ NOT NULL,
    snapshot_id BIGINT,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE research.strategy_backtest_results IS 'Results of strategies in the exam window: one row for each lane (symbol, timeframe), and one pooled row with symbol * and timeframe *.';
COMMENT ON COLUMN research.strategy_backtest_results.id IS 'hash of strategy, version, as-of, symbol and timeframe';
COMMENT ON COLUMN research.strategy_backtest_results.strategy_name IS 'name of the strategy';
COMMENT ON COLUMN research.strategy_backtest_results."timestamp" IS 'when the row was written (UTC, wall clock)';
COMMENT ON COLUMN research.strategy_backtest_results.backtest_period IS 'length of the window, such as 7d';
COMMENT ON COLUMN research.strategy_backtest_results.win_rate IS 'share of trades that made money after all costs, 0 to 1; null without trades';
COMMENT ON COLUMN research.strategy_backtest_results.avg_pnl_pct IS 'mean net profit of a trade, in percent of its entry notional; null without trades';
COMMENT ON COLUMN research.strategy_backtest_results.sharpe IS 'Sharpe ratio of the equity curve''s returns, annualised over 365 days; null where they have no variance';
COMMENT ON COLUMN research.strategy_backtest_results.max_drawdown IS 'largest fall of equity from a peak, as a fraction, 0 to 1';
COMMENT ON COLUMN research.strategy_backtest_results.total_trades IS 'number of trades';
COMMENT ON COLUMN research.strategy_backtest_results.score IS '40 win_rate + 30 avg_pnl_pct + 20 sharpe - 10 max_drawdown; null without trades';
COMMENT ON COLUMN research.strategy_backtest_results.status IS 'state of the strategy: candidate, active, tuning or archived';
COMMENT ON COLUMN research.strategy_backtest_results.tuning_attempt IS 'number of the tuning attempt, 1 to 3; null outside tuning';
COMMENT ON COLUMN research.strategy_backtest_results.design_prompt IS 'what the designer was asked; null where nobody was';
COMMENT ON COLUMN research.strategy_backtest_results.version IS 'version of the strategy';
COMMENT ON COLUMN research.strategy_backtest_results.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN research.strategy_backtest_results.symbol IS 'perpetual future, BASE-QUOTE; * for the pooled row';
COMMENT ON COLUMN research.strategy_backtest_results.timeframe IS '1m, 5m or 60m; * for the pooled row';
COMMENT ON COLUMN research.strategy_backtest_results.sharpe_se IS 'standard error of sharpe, annualised alike';
COMMENT ON COLUMN research.strategy_backtest_results.sortino IS 'Sortino ratio, annualised over 365 days';
COMMENT ON COLUMN research.strategy_backtest_results.profit_factor IS 'net gains over net losses of trades; null without losses';
COMMENT ON COLUMN research.strategy_backtest_results.exposure IS 'share of time in a position, 0 to 1';
COMMENT ON COLUMN research.strategy_backtest_results.turnover IS 'traded notional, as a multiple of starting equity';
COMMENT ON COLUMN research.strategy_backtest_results.total_pnl_pct IS 'net change of equity over the window, in percent';
COMMENT ON COLUMN research.strategy_backtest_results.fees_pct IS 'fees paid, in percent of starting equity';
COMMENT ON COLUMN research.strategy_backtest_results.slippage_pct IS 'slippage paid, in percent of starting equity';
COMMENT ON COLUMN research.strategy_backtest_results.funding_pct IS 'funding paid (negative: received), in percent of starting equity';
COMMENT ON COLUMN research.strategy_backtest_results.funding_known IS 'share of the time in a position with known funding, 0 to 1';
COMMENT ON COLUMN research.strategy_backtest_results.score_win_rate IS 'term of the score: 40 times win_rate';
COMMENT ON COLUMN research.strategy_backtest_results.score_avg_pnl IS 'term of the score: 30 times avg_pnl_pct';
COMMENT ON COLUMN research.strategy_backtest_results.score_sharpe IS 'term of the score: 20 times sharpe';
COMMENT ON COLUMN research.strategy_backtest_results.score_drawdown IS 'term of the score: minus 10 times max_drawdown';
COMMENT ON COLUMN research.strategy_backtest_results.window_start IS 'first opening time of the window (UTC)';
COMMENT ON COLUMN research.strategy_backtest_results.window_end IS 'end of the window (UTC)';
COMMENT ON COLUMN research.strategy_backtest_results.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN research.strategy_backtest_results.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.strategy_backtest_results', ['id']);

CREATE TABLE research.trades (
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    symbol VARCHAR NOT NULL,
    timeframe VARCHAR NOT NULL,
    side VARCHAR NOT NULL,
    entry_ts TIMESTAMPTZ NOT NULL,
    exit_ts TIMESTAMPTZ,
    entry_price DOUBLE NOT NULL,
    exit_price DOUBLE,
    quantity DOUBLE NOT NULL,
    pnl DOUBLE,
    fees DOUBLE,
    funding DOUBLE,
    pnl_pct DOUBLE,
    exit_reason VARCHAR,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE research.trades IS 'Trades of backtests in the exam window.';
COMMENT ON COLUMN research.trades.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN research.trades.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.trades.name IS 'name of what traded';
COMMENT ON COLUMN research.trades.version IS 'version of what traded';
COMMENT ON COLUMN research.trades.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN research.trades.timeframe IS '1m, 5m or 60m';
COMMENT ON COLUMN research.trades.side IS 'long or short';
COMMENT ON COLUMN research.trades.entry_ts IS 'opening time of the bar of the entry (UTC)';
COMMENT ON COLUMN research.trades.exit_ts IS 'opening time of the bar of the exit (UTC)';
COMMENT ON COLUMN research.trades.entry_price IS 'entry fill after slippage, in quote currency';
COMMENT ON COLUMN research.trades.exit_price IS 'exit fill after slippage, in quote currency';
COMMENT ON COLUMN research.trades.quantity IS 'size of the position, in base units';
COMMENT ON COLUMN research.trades.pnl IS 'net profit after fees and funding, in quote currency';
COMMENT ON COLUMN research.trades.fees IS 'fees of both sides, in quote currency';
COMMENT ON COLUMN research.trades.funding IS 'funding paid (negative: received), in quote currency';
COMMENT ON COLUMN research.trades.pnl_pct IS 'net profit, in percent of the entry notional';
COMMENT ON COLUMN research.trades.exit_reason IS 'what closed it, such as signal, stop, trail, target, time or end';
COMMENT ON COLUMN research.trades.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.trades', ['as_of', 'kind', 'name', 'version', 'symbol', 'timeframe', 'entry_ts']);

CREATE TABLE research.strategy_scores (
    "timestamp" TIMESTAMPTZ NOT NULL,
    strategy VARCHAR NOT NULL,
    symbol VARCHAR NOT NULL,
    "window" VARCHAR NOT NULL,
    trades INTEGER,
    wins INTEGER,
    losses INTEGER,
    win_rate DOUBLE,
    avg_pnl_pct DOUBLE,
    total_pnl_pct DOUBLE,
    sharpe_ratio DOUBLE,
    max_drawdown_pct DOUBLE,
    score DOUBLE,
    enabled BOOLEAN,
    as_of TIMESTAMPTZ NOT NULL,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE research.strategy_scores IS 'Scores by strategy, symbol and window, in the form of the older system.';
COMMENT ON COLUMN research.strategy_scores."timestamp" IS 'when the row was written (UTC, wall clock)';
COMMENT ON COLUMN research.strategy_scores.strategy IS 'name of the strategy';
COMMENT ON COLUMN research.strategy_scores.symbol IS 'perpetual future, BASE-QUOTE; * for all';
COMMENT ON COLUMN research.strategy_scores."window" IS 'length of the window, such as 24h or 7d; an SQL keyword: quote it';
COMMENT ON COLUMN research.strategy_scores.trades IS 'number of trades';
COMMENT ON COLUMN research.strategy_scores.wins IS 'number of trades that made money';
COMMENT ON COLUMN research.strategy_scores.losses IS 'number of trades that did not';
COMMENT ON COLUMN research.strategy_scores.win_rate IS 'wins over trades, 0 to 1';
COMMENT ON COLUMN research.strategy_scores.avg_pnl_pct IS 'mean net profit of a trade, in percent of its entry notional';
COMMENT ON COLUMN research.strategy_scores.total_pnl_pct IS 'net change of equity, in percent';
COMMENT ON COLUMN research.strategy_scores.sharpe_ratio IS 'Sharpe ratio, annualised over 365 days';
COMMENT ON COLUMN research.strategy_scores.max_drawdown_pct IS 'largest fall of equity from a peak, in percent';
COMMENT ON COLUMN research.strategy_scores.score IS '40 win_rate + 30 avg_pnl_pct + 20 sharpe - 10 max_drawdown';
COMMENT ON COLUMN research.strategy_scores.enabled IS 'whether the strategy is active';
COMMENT ON COLUMN research.strategy_scores.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN research.strategy_scores.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.strategy_scores', ['as_of', 'strategy', 'symbol', 'window']);

CREATE TABLE research.ranking_history (
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    rank INTEGER,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    score DOUBLE,
    trades INTEGER,
    status VARCHAR NOT NULL,
    reason VARCHAR,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE research.ranking_history IS 'Rank of every strategy, model and ensemble at each as-of.';
COMMENT ON COLUMN research.ranking_history.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN research.ranking_history.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.ranking_history.rank IS 'place within its kind, 1 is best; null where it was not ranked';
COMMENT ON COLUMN research.ranking_history.name IS 'name of what is ranked';
COMMENT ON COLUMN research.ranking_history.version IS 'its version';
COMMENT ON COLUMN research.ranking_history.score IS 'score that the rank follows; null without trades';
COMMENT ON COLUMN research.ranking_history.trades IS 'number of trades behind the score';
COMMENT ON COLUMN research.ranking_history.status IS 'active, tuning, candidate or archived';
COMMENT ON COLUMN research.ranking_history.reason IS 'why it has this status';
COMMENT ON COLUMN research.ranking_history.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.ranking_history', ['as_of', 'kind', 'name', 'version']);

CREATE TABLE research.trials (
    id VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    author VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    params VARCHAR,
    window_start TIMESTAMPTZ NOT NULL,
    window_end TIMESTAMPTZ NOT NULL,
    snapshot_id BIGINT,
    score DOUBLE,
    trades INTEGER,
    sharpe DOUBLE,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE research.trials IS 'Every evaluation of anything: the number of tries that a result must be judged against.';
COMMENT ON COLUMN research.trials.id IS 'hash of what was evaluated, where and when';
COMMENT ON COLUMN research.trials.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN research.trials.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.trials.author IS 'who proposed it: library, search or claude';
COMMENT ON COLUMN research.trials.name IS 'name of what was evaluated';
COMMENT ON COLUMN research.trials.version IS 'its version';
COMMENT ON COLUMN research.trials.params IS 'its parameters, as JSON';
COMMENT ON COLUMN research.trials.window_start IS 'first opening time of the window (UTC)';
COMMENT ON COLUMN research.trials.window_end IS 'end of the window (UTC)';
COMMENT ON COLUMN research.trials.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN research.trials.score IS 'score in that window; null without trades';
COMMENT ON COLUMN research.trials.trades IS 'number of trades';
COMMENT ON COLUMN research.trials.sharpe IS 'Sharpe ratio, annualised over 365 days';
COMMENT ON COLUMN research.trials.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.trials', ['id']);

CREATE TABLE research.equity (
    as_of TIMESTAMPTZ NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    equity DOUBLE NOT NULL,
    run_id VARCHAR NOT NULL
);
ALTER TABLE research.equity SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE research.equity IS 'Pooled equity of what is ranked, at full hours of the exam window.';
COMMENT ON COLUMN research.equity.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN research.equity.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.equity.name IS 'name of what traded';
COMMENT ON COLUMN research.equity.version IS 'its version';
COMMENT ON COLUMN research.equity.ts IS 'full hour (UTC)';
COMMENT ON COLUMN research.equity.equity IS 'equity, as a multiple of starting capital';
COMMENT ON COLUMN research.equity.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.equity', ['as_of', 'kind', 'name', 'version', 'ts']);

CREATE TABLE research.cycle_events (
    cycle VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    state VARCHAR NOT NULL,
    "at" TIMESTAMPTZ NOT NULL,
    detail VARCHAR,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE research.cycle_events IS 'What happened to each cycle: begun, done, failed, skipped.';
COMMENT ON COLUMN research.cycle_events.cycle IS 'name of the cycle, such as strategy, ml or report';
COMMENT ON COLUMN research.cycle_events.key IS 'partition key of the cycle';
COMMENT ON COLUMN research.cycle_events.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN research.cycle_events.state IS 'what happened';
COMMENT ON COLUMN research.cycle_events."at" IS 'when (UTC, wall clock); an SQL keyword: quote it';
COMMENT ON COLUMN research.cycle_events.detail IS 'more about it, in words';
COMMENT ON COLUMN research.cycle_events.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('research.cycle_events', ['cycle', 'key', 'as_of', 'state', 'at']);
