-- Each record of the forward ledger that is tracked or was, with its evidence by the newest night up to $as_of; of
-- predictions the mean daily gain in log-loss instead of a result.
SELECT
    kind, name, version, activated_at,
    max(day) AS last_day,
    count(net_return) AS days,
    100 * sum(net_return) FILTER (WHERE kind NOT LIKE '%predictions') AS total_pnl_pct,
    avg(net_return) FILTER (WHERE kind LIKE '%predictions') AS log_loss_gain,
    max_by(capital, day) AS capital,
    max_by(capital_worse, day) AS capital_worse,
    any_value(weight) AS weight,
    any_value(expected) AS expected,
    any_value(deviation) AS deviation,
    any_value(loss_bound) AS loss_bound,
    min(day) FILTER (WHERE broken) AS broken_on,
    min(day) FILTER (WHERE confirmed) AS first_confirmed
FROM research.evidence_daily
WHERE as_of <= $as_of
GROUP BY ALL
ORDER BY capital DESC, kind, name, version, activated_at
