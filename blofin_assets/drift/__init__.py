"""The drift stage: forward results and inputs against expectations, and the response.

Belongs here: its assets, the tests of each day, checks, requests for tuning and their sensor. Does not belong here:
the tests' arithmetic (`backtester.statistics.drift`, `model_zoo.evaluation.feature_drift`).
"""
