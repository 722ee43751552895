"""Strategies: the language they are written in, the library, ranking and (later) evolution.

Belongs here: what turns features into signals and what compares strategies. Does not belong here: fills, costs and
metrics (`backtester`), anything that reads a database or a network.
"""
