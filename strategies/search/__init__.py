"""Searching: many versions of strategies on one in-sample panel.

Belongs here: the panel, the objective, tuning of parameters, the embedded search. Does not belong here: asking Claude
(`strategies.llm`), the holdout (`backtester`).
"""
