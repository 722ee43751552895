"""Backtests: bar aggregation, the kernel, costs, metrics, overfitting statistics and `BacktestEngine`.

Belongs here: everything between signals and results. Does not belong here: what makes the signals (`strategies`,
`model_zoo`), anything that reads a database or a network.
"""
