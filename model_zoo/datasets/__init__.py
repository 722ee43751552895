"""Training data from candles: labels, folds, sample weights.

Belongs here: everything before fitting. Does not belong here: features (`features`), models (`model_zoo.models`).
"""
