-- The runs that wrote the results of the ML cycle as of $as_of.
SELECT run_id FROM research.ranking_history WHERE as_of = $as_of AND kind <> 'strategy'
UNION
SELECT run_id FROM ml.ml_model_results WHERE as_of = $as_of
UNION
SELECT run_id FROM ml.ml_ensembles WHERE as_of = $as_of
UNION
SELECT run_id FROM ml.feature_importance WHERE as_of = $as_of
UNION
SELECT run_id FROM ml.model_tuning WHERE as_of = $as_of
