-- The ranked strategies of the cycle as of $as_of with their pooled results, best first, without those that have no score.
SELECT
    h.name, h.rank, r.score, r.total_trades, r.avg_pnl_pct, r.fees_pct + r.slippage_pct AS costs_pct, r.total_pnl_pct
FROM research.ranking_history AS h
JOIN research.strategy_backtest_results AS r
    ON r.as_of = h.as_of AND r.strategy_name = h.name AND r.version = h.version AND r.symbol = '*'
WHERE h.as_of = $as_of AND h.kind = 'strategy' AND r.score IS NOT NULL
ORDER BY h.rank
