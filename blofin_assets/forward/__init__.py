"""The forward stage: paper trading of everything active, on bars after activation.

Belongs here: its assets, and the active periods of what is tracked. Does not belong here: the ledger's arithmetic
(`backtester.forward_ledger`).
"""
