"""Whether a strategy may be used: causality, determinism, life, and whether it is another one at all.

Belongs here: checks of compiled strategies. Does not belong here: reading their text (`strategies.untrusted`).
"""
