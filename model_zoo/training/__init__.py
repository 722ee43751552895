"""Training: a model on a window, with and without tuning.

Belongs here: what runs folds, fits and validates. Does not belong here: the models (`model_zoo.models`).
"""
