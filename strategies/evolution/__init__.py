"""Evolution: how strategies are designed, tuned and replaced.

Belongs here: what an author of strategies is asked, and what its answers must look like. Does not belong here:
reaching an author (`blofin_resources.claude`), the language (`strategies.language`), results (`backtester`).
"""
