"""The strategy cycle, every 48 hours: scores, tuning, design, the holdout, ranking, knowledge, the active set.

Belongs here: its assets, the designers and the context of their prompts, the rows of their results. Does not belong
here: the pure parts of designing and searching (`strategies`), backtesting (`backtester`).
"""
