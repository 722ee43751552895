-- Books in the strategy cycle: their texts, their lives, and what their holdouts came to. Trades, equity, evidence, ranks and
-- trials of books are rows of kind 'book' in the tables of strategies.
CREATE TABLE research.books (
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    author VARCHAR NOT NULL,
    parents VARCHAR,
    code VARCHAR NOT NULL,
    parameters VARCHAR,
    design_prompt VARCHAR,
    knows_until TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.books', ['name', 'version']);
COMMENT ON TABLE research.books IS 'Every version of every book that has ever been run, with its code.';
COMMENT ON COLUMN research.books.name IS 'name of the book';
COMMENT ON COLUMN research.books.version IS 'hash of code, parameters and the definitions of the features that it reads';
COMMENT ON COLUMN research.books.source IS 'where the code comes from: library, tuned (the code of another version, other parameters) or designed';
COMMENT ON COLUMN research.books.author IS 'who wrote it or chose its parameters: library, search, claude, tuner or drift';
COMMENT ON COLUMN research.books.parents IS 'names and versions that it was made of, as JSON; null for the library';
COMMENT ON COLUMN research.books.code IS 'its text';
COMMENT ON COLUMN research.books.parameters IS 'value of each parameter, as JSON';
COMMENT ON COLUMN research.books.design_prompt IS 'prompt that a language model wrote it from; null without one';
COMMENT ON COLUMN research.books.knows_until IS 'end of what the language model that designed or tuned it may know of the market (UTC); null without a model';
COMMENT ON COLUMN research.books.created_at IS 'as-of of the cycle that stored it first (UTC)';
COMMENT ON COLUMN research.books.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.book_lifecycle (
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    event VARCHAR NOT NULL,
    begins_at TIMESTAMPTZ NOT NULL,
    reason VARCHAR,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.book_lifecycle', ['name', 'version', 'event', 'begins_at']);
COMMENT ON TABLE research.book_lifecycle IS 'Every change of state of a book; the current state is the view research.book_state.';
COMMENT ON COLUMN research.book_lifecycle.name IS 'name of the book';
COMMENT ON COLUMN research.book_lifecycle.version IS 'version of the book';
COMMENT ON COLUMN research.book_lifecycle.event IS 'candidate, validated, active, tuning, archived, refused, repeats (it holds the weights of another) or failed (it could not be run)';
COMMENT ON COLUMN research.book_lifecycle.begins_at IS 'as-of of the cycle that decided it (UTC)';
COMMENT ON COLUMN research.book_lifecycle.reason IS 'why, in words';
COMMENT ON COLUMN research.book_lifecycle.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.book_backtest_results (
    as_of TIMESTAMPTZ NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    status VARCHAR,
    timeframe VARCHAR NOT NULL,
    rebalance VARCHAR NOT NULL,
    tranches INTEGER NOT NULL,
    window_start TIMESTAMPTZ NOT NULL,
    window_end TIMESTAMPTZ NOT NULL,
    snapshot_id BIGINT,
    capital DOUBLE NOT NULL,
    universe VARCHAR NOT NULL,
    members_fewest INTEGER NOT NULL,
    members_most INTEGER NOT NULL,
    chosen_today BOOLEAN NOT NULL,
    score DOUBLE,
    score_win_rate DOUBLE,
    score_avg_pnl DOUBLE,
    score_sharpe DOUBLE,
    score_drawdown DOUBLE,
    total_pnl_pct DOUBLE,
    total_trades INTEGER NOT NULL,
    win_rate DOUBLE,
    avg_pnl_pct DOUBLE,
    sharpe DOUBLE,
    sharpe_se DOUBLE,
    sortino DOUBLE,
    max_drawdown DOUBLE,
    adverse_drawdown DOUBLE,
    exposure DOUBLE,
    gross_exposure DOUBLE,
    net_exposure DOUBLE,
    largest_net DOUBLE,
    turnover DOUBLE,
    turnover_year DOUBLE,
    pnl_before_costs_pct DOUBLE,
    fees_pct DOUBLE,
    slippage_pct DOUBLE,
    funding_pct DOUBLE,
    lost_pct DOUBLE,
    funding_known DOUBLE,
    alpha DOUBLE,
    alpha_se DOUBLE,
    beta DOUBLE,
    ruined INTEGER NOT NULL,
    ruined_by_extremes INTEGER NOT NULL,
    shortfall_pct DOUBLE,
    cut_by_margin INTEGER NOT NULL,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.book_backtest_results', ['as_of', 'name', 'version']);
COMMENT ON TABLE research.book_backtest_results IS 'Each book of a strategy cycle on its holdout: one capital over the universe, all costs paid.';
COMMENT ON COLUMN research.book_backtest_results.as_of IS 'as-of of the cycle (UTC), end of the holdout';
COMMENT ON COLUMN research.book_backtest_results.name IS 'name of the book';
COMMENT ON COLUMN research.book_backtest_results.version IS 'version of the book';
COMMENT ON COLUMN research.book_backtest_results.status IS 'state of the book before the holdout';
COMMENT ON COLUMN research.book_backtest_results.timeframe IS 'bars that it trades on';
COMMENT ON COLUMN research.book_backtest_results.rebalance IS 'interval between its decisions';
COMMENT ON COLUMN research.book_backtest_results.tranches IS 'equal parts of its capital that rebalance on different days; 1 for a book that rebalances at least daily';
COMMENT ON COLUMN research.book_backtest_results.window_start IS 'start of the holdout (UTC)';
COMMENT ON COLUMN research.book_backtest_results.window_end IS 'end of the holdout (UTC)';
COMMENT ON COLUMN research.book_backtest_results.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN research.book_backtest_results.capital IS 'starting capital of all tranches together, in quote currency';
COMMENT ON COLUMN research.book_backtest_results.universe IS 'rule of the universe, as in BLOFIN_UNIVERSE';
COMMENT ON COLUMN research.book_backtest_results.members_fewest IS 'members of the universe on the day with the fewest';
COMMENT ON COLUMN research.book_backtest_results.members_most IS 'members of the universe on the day with the most';
COMMENT ON COLUMN research.book_backtest_results.chosen_today IS 'whether a person wrote the symbols down: the list knows which of them survived, which flatters the book';
COMMENT ON COLUMN research.book_backtest_results.score IS '40·win_rate + 30·avg_pnl_pct + 20·sharpe − 10·max_drawdown; null without trades';
COMMENT ON COLUMN research.book_backtest_results.score_win_rate IS 'its term 40·win_rate';
COMMENT ON COLUMN research.book_backtest_results.score_avg_pnl IS 'its term 30·avg_pnl_pct';
COMMENT ON COLUMN research.book_backtest_results.score_sharpe IS 'its term 20·sharpe';
COMMENT ON COLUMN research.book_backtest_results.score_drawdown IS 'its term −10·max_drawdown';
COMMENT ON COLUMN research.book_backtest_results.total_pnl_pct IS 'net change of the equity over the holdout, in percent';
COMMENT ON COLUMN research.book_backtest_results.total_trades IS 'trades: episodes of one symbol from flat to flat, open ones included';
COMMENT ON COLUMN research.book_backtest_results.win_rate IS 'share of trades with a net gain, 0 to 1; null without trades';
COMMENT ON COLUMN research.book_backtest_results.avg_pnl_pct IS 'mean net result of a trade, in percent of the largest notional that it held';
COMMENT ON COLUMN research.book_backtest_results.sharpe IS 'Sharpe ratio of the bars'' returns, annualised; null without variance';
COMMENT ON COLUMN research.book_backtest_results.sharpe_se IS 'its standard error';
COMMENT ON COLUMN research.book_backtest_results.sortino IS 'Sortino ratio, annualised; null without a loss';
COMMENT ON COLUMN research.book_backtest_results.max_drawdown IS 'largest fall of the equity from a peak, 0 to 1';
COMMENT ON COLUMN research.book_backtest_results.adverse_drawdown IS 'the same with all adverse extremes of a bar at once: an upper bound';
COMMENT ON COLUMN research.book_backtest_results.exposure IS 'share of the time with a position, 0 to 1';
COMMENT ON COLUMN research.book_backtest_results.gross_exposure IS 'mean sum of absolute weights, as a multiple of equity';
COMMENT ON COLUMN research.book_backtest_results.net_exposure IS 'mean of long less short weights, as a multiple of equity';
COMMENT ON COLUMN research.book_backtest_results.largest_net IS 'largest absolute net weight, as a multiple of equity';
COMMENT ON COLUMN research.book_backtest_results.turnover IS 'traded notional as a multiple of the equity at the time';
COMMENT ON COLUMN research.book_backtest_results.turnover_year IS 'turnover of a year';
COMMENT ON COLUMN research.book_backtest_results.pnl_before_costs_pct IS 'result before fees, slippage and funding, in percent of the capital';
COMMENT ON COLUMN research.book_backtest_results.fees_pct IS 'fees, in percent of the capital';
COMMENT ON COLUMN research.book_backtest_results.slippage_pct IS 'slippage, in percent of the capital';
COMMENT ON COLUMN research.book_backtest_results.funding_pct IS 'funding paid (negative: received), in percent of the capital';
COMMENT ON COLUMN research.book_backtest_results.lost_pct IS 'lost in liquidations, in percent of the capital';
COMMENT ON COLUMN research.book_backtest_results.funding_known IS 'share of the traded notional whose funding is known, 0 to 1; null without fills';
COMMENT ON COLUMN research.book_backtest_results.alpha IS 'return of a year that the universe''s equal-weighted average does not explain, a fraction';
COMMENT ON COLUMN research.book_backtest_results.alpha_se IS 'its standard error, a fraction';
COMMENT ON COLUMN research.book_backtest_results.beta IS 'return for one of the universe''s equal-weighted average';
COMMENT ON COLUMN research.book_backtest_results.ruined IS 'tranches that a liquidation ended; a ruined book ranks last';
COMMENT ON COLUMN research.book_backtest_results.ruined_by_extremes IS 'tranches that all adverse extremes of a bar at once would have ended';
COMMENT ON COLUMN research.book_backtest_results.shortfall_pct IS 'what fills took below zero equity, in percent of the capital';
COMMENT ON COLUMN research.book_backtest_results.cut_by_margin IS 'opens at which margin did not suffice, so that all increases were scaled';
COMMENT ON COLUMN research.book_backtest_results.run_id IS 'Dagster run that wrote the row';

-- Two tranches of a book may open the same symbol in the same bar, after a time in which nobody could fill it.
ALTER TABLE research.trades ADD COLUMN tranche INTEGER DEFAULT 0;
UPDATE meta.table_keys SET columns = ['as_of', 'kind', 'name', 'version', 'symbol', 'timeframe', 'entry_ts', 'tranche']
WHERE table_name = 'research.trades';
COMMENT ON COLUMN research.trades.tranche IS 'of a book, the part of its capital that traded, 0 for the first, and for other kinds';
COMMENT ON COLUMN research.trades.kind IS 'strategy, model, ensemble or book';
COMMENT ON COLUMN research.trades.timeframe IS 'bars of the lane or the book; lanes that are not scored have rows, too: see scored';
COMMENT ON COLUMN research.trades.pnl_pct IS 'pnl in percent of the entry notional; of a book, of the largest notional held';
COMMENT ON COLUMN research.trades.exit_reason IS 'what closed it: signal, reversal, time, stop, trail, target or liquidation; of a book rebalance, reversal, left (the universe), ended (its bars) or liquidation; open for a position still open at the window''s end, valued at the last mark less exit costs';
COMMENT ON COLUMN research.equity.kind IS 'strategy, model, ensemble or book';
COMMENT ON COLUMN research.ranking_history.kind IS 'strategy, model, ensemble or book';
COMMENT ON COLUMN research.evidence.kind IS 'strategy, model, ensemble or book';
COMMENT ON COLUMN research.designer_runs.stage IS 'tuning, design, book tuning or book design';
COMMENT ON COLUMN research.proposals.stage IS 'tuning, design, book tuning or book design';
COMMENT ON COLUMN research.finalists.stage IS 'tuning, design, book tuning or book design';
COMMENT ON COLUMN research.holdout_outcomes.stage IS 'tuning, design, book tuning or book design';
COMMENT ON COLUMN research.evidence.search_trials IS 'configurations tried by searches that saw any part of the 35 days before the as-of, of books of the 450 days; they chose the finalists and do not count in trials';
