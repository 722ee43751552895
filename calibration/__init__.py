"""Whether the machine is honest: search, models and drift tests on markets and returns whose truth is known.

Belongs here: planted truths, many cycles over them, the bars they must hold. Does not belong here: how fast anything is
(`benchmarks`).
"""
