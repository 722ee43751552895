"""The lakehouse that holds everything: candles, features, results, reports.

Belongs here: opening it, its schema, atomic writes, reads, and the `CandleSource` that domain code reads candles
through. Does not belong here: what the rows mean, or any computation on them. Tables are described in
`warehouse/schema/*.sql`, views for analysts in `warehouse/views/*.sql`.

How it works, in one rule: a write is prepared without any lock, then one file lock is taken from before BEGIN to
after COMMIT. Reads take no lock and disturb nobody.
"""

from blofin_resources.warehouse._transaction import Change, Transaction
from blofin_resources.warehouse._warehouse import Warehouse

__all__ = ["Change", "Transaction", "Warehouse"]
