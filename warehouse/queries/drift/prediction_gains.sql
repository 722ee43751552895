-- What the predictions of $names gained on their naive baseline in each hour of the holdout days of $cycles: the mean
-- log-loss of the baseline less that of the model, in nats, with probabilities cut to [0.02, 0.98].
WITH rates AS (
    SELECT model_name AS name, as_of, base_rate FROM ml.ml_model_results
    WHERE base_rate IS NOT NULL AND list_contains($cycles, as_of)
    UNION ALL
    SELECT ensemble_name, as_of, list_avg(CAST(json_extract(definition, '$.base_rates') AS DOUBLE[])) FROM ml.ml_ensembles
    WHERE definition IS NOT NULL AND list_contains($cycles, as_of)
), said AS (
    SELECT
        said.model_name AS name, said.as_of, said.ts, said.label > 0.5 AS happened,
        least(greatest(said.probability, 0.02), 0.98) AS probability,
        least(greatest(rates.base_rate, 0.02), 0.98) AS baseline
    FROM ml.predictions AS said
    JOIN rates ON rates.name = said.model_name AND rates.as_of = said.as_of
    WHERE list_contains($names, said.model_name) AND list_contains($cycles, said.as_of)
        AND said.probability IS NOT NULL AND said.label IS NOT NULL AND said.ts >= said.as_of - INTERVAL 1 DAY
)
SELECT
    name, as_of, time_bucket(INTERVAL 1 HOUR, ts) AS hour,
    avg(CASE WHEN happened THEN ln(probability / baseline) ELSE ln((1 - probability) / (1 - baseline)) END) AS gain
FROM said
GROUP BY ALL
ORDER BY ALL
