"""The ML cycle, every 12 hours: models, ensembles, their ranking, features that Claude designs.

Belongs here: its assets and rows. Does not belong here: training and predicting (`model_zoo`).
"""
