-- Permutation importance of the inputs of the model $name in the last cycle at or before $until, largest first.
SELECT as_of, feature, importance, importance_sd, folds, folds_positive, suggestion
FROM ml.feature_importance
WHERE model_name = $name
    AND as_of = (SELECT max(as_of) FROM ml.feature_importance WHERE model_name = $name AND as_of <= $until)
ORDER BY rank
