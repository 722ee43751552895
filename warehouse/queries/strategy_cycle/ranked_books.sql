-- The ranked books of the cycle as of $as_of with their results, best first, without those that have no score.
SELECT
    h.name, h.rank, r.score, r.total_trades, r.avg_pnl_pct, r.fees_pct + r.slippage_pct AS costs_pct, r.total_pnl_pct
FROM research.ranking_history AS h
JOIN research.book_backtest_results AS r
    ON r.as_of = h.as_of AND r.name = h.name AND r.version = h.version
WHERE h.as_of = $as_of AND h.kind = 'book' AND r.score IS NOT NULL
ORDER BY h.rank
