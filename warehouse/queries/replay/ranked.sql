-- What the strategy cycle as of $as_of ranked, strategies and books, with what is known of each on the holdout.
SELECT
    ranked.kind,
    ranked.name,
    ranked.version,
    ranked.rank,
    ranked.status = 'active' AS active,
    ranked.score,
    evidence.supported,
    results.largest_size
FROM research.ranking_history AS ranked
LEFT JOIN research.evidence AS evidence USING (as_of, kind, name, version)
LEFT JOIN research.strategy_backtest_results AS results
    ON ranked.kind = 'strategy' AND results.as_of = ranked.as_of AND results.strategy_name = ranked.name AND results.version = ranked.version
    AND results.symbol = '*'
WHERE ranked.as_of = $as_of AND ranked.kind IN ('strategy', 'book') AND ranked.rank IS NOT NULL
ORDER BY ranked.kind DESC, ranked.rank, ranked.name, ranked.version
