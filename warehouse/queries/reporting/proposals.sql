-- Proposals of the cycle as of $as_of, each with its outcome if it took the holdout.
SELECT
    p.stage, p.designer, p.slot, p.name, p.version, p.parent_version, p.attempt, p.changes, p.reason, p.fails_when,
    p.state, p.refusal, p.evaluations, p.search_score, p.search_trades, p.parent_search_score, p.cost_usd,
    e.score, e.trades, e.sharpe, e.parent_score, e.rank, e.dsr, e.supported, e.accepted, e.replaces,
    e.reason AS outcome
FROM research.proposals AS p
LEFT JOIN research.holdout_outcomes AS e ON e.as_of = p.as_of AND e.name = p.name AND e.version = p.version
WHERE p.as_of = $as_of
ORDER BY p.stage, e.accepted DESC NULLS LAST, e.score DESC NULLS LAST, p.designer, p.slot
