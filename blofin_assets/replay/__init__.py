"""The desk replayed: what its cycles would have chosen at each time of the past, and what that earned afterwards.

Belongs here: running the real cycles as of past times in a scratch warehouse, following what they chose, the numbers
and the page of it. Does not belong here: the cycles themselves, the live desk (`replay` is a schema of its own).
"""
