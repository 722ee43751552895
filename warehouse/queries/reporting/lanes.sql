-- Results of the ranked strategies of the cycle as of $as_of on each lane.
SELECT
    strategy_name, version, symbol, timeframe, scored, total_trades, win_rate, avg_pnl_pct, total_pnl_pct, sharpe,
    max_drawdown, coverage, declared_pnl_pct, declared_liquidations
FROM research.strategy_backtest_results
WHERE
    as_of = $as_of AND symbol <> '*'
    AND (as_of, strategy_name, version) IN (SELECT (as_of, name, version) FROM research.ranking_history)
ORDER BY strategy_name, version, timeframe, symbol
