"""Evolution: how strategies are designed, tuned and replaced.

Belongs here: what an author of strategies is asked and what its answers must look like; the panel on which many
versions are tried; the embedded search. Does not belong here: reaching an author (`blofin_resources.claude`), the
language (`strategies.language`), results (`backtester`), the record of what was tried (the warehouse).
"""
