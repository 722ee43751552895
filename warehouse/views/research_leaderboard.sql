CREATE OR REPLACE VIEW research.leaderboard AS
WITH results AS (
    SELECT
        'strategy' AS kind, strategy_name AS name, version, as_of, total_pnl_pct, sharpe, sharpe_se, max_drawdown, win_rate,
        fees_pct + slippage_pct AS costs_pct, window_start, window_end
    FROM research.strategy_backtest_results
    WHERE symbol = '*' AND timeframe = '*'
    UNION ALL BY NAME
    SELECT
        'book' AS kind, name, version, as_of, total_pnl_pct, sharpe, sharpe_se, max_drawdown, win_rate,
        fees_pct + slippage_pct AS costs_pct, window_start, window_end
    FROM research.book_backtest_results
    UNION ALL BY NAME
    SELECT
        'model' AS kind, model_name AS name, version, as_of, sharpe, max_drawdown, win_rate, holdout_start AS window_start,
        holdout_end AS window_end
    FROM ml.ml_model_results
    UNION ALL BY NAME
    SELECT
        'ensemble' AS kind, ensemble_name AS name, version, as_of, backtest_sharpe AS sharpe, max_drawdown, win_rate,
        holdout_start AS window_start, holdout_end AS window_end
    FROM ml.ml_ensembles
)
SELECT
    ranked.kind, ranked.rank, ranked.name, ranked.version, ranked.status, ranked.score, ranked.trades, results.total_pnl_pct,
    results.costs_pct, results.sharpe, results.sharpe_se, results.max_drawdown, results.win_rate, luck.dsr,
    luck.supported, luck.expected_sharpe, results.window_start, results.window_end, ranked.as_of
FROM research.current_ranking AS ranked
LEFT JOIN results USING (kind, name, version, as_of)
LEFT JOIN research.evidence AS luck USING (kind, name, version, as_of)
ORDER BY ranked.kind, ranked.rank NULLS LAST, ranked.name;
COMMENT ON VIEW research.leaderboard IS
    'What leads now and can it be believed: latest rank of every strategy, book, model and ensemble with its holdout after costs; total_pnl_pct and costs_pct in percent, max_drawdown and win_rate as shares, sharpe annual; dsr is the deflated ratio.';
