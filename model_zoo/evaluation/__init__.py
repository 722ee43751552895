"""Evaluation of fitted models: metrics, importance of inputs and their drift.

Belongs here: numbers about fitted models. Does not belong here: fitting them (`model_zoo.training`).
"""
