"""From lanes to the result of a strategy, and of several held together.

Belongs here: running lanes over a market, pooling them, ranks, portfolios, robustness. Does not belong here: fills
(`backtester.simulation`), statistics that know no trades (`backtester.statistics`).
"""
