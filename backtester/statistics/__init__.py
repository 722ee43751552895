"""Statistics of returns: metrics, overfitting, drift, and the windows they are taken over.

Belongs here: functions of arrays and of time. Does not belong here: anything that knows a market or a strategy.
"""
