"""Models in use: stored folders, which version spoke when, a model as a strategy.

Belongs here: storing, loading and asking fitted models. Does not belong here: training (`model_zoo.training`).
"""
