"""Features: causal Polars expressions over candles, by name, and the manager that computes them.

Belongs here: the vocabulary of bars, the feature registry, the features, `FeatureManager`. Does not belong here:
labels (`model_zoo`), signals (`strategies`), anything that reads a database or a network.
"""
