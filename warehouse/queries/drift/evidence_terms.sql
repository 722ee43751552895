-- What was fixed when each record began, by the rows that other dates than $as_of wrote, and the days that they wrote.
SELECT
    kind, name, version, activated_at, deviation, loss_bound, gain_bound, expected, weight, list(day) AS days
FROM research.evidence_daily
WHERE as_of <> $as_of
GROUP BY ALL
