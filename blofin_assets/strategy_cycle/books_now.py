"""The newest ranking of books in one line, for the status.

Belongs here: that line. Does not belong here: ranking books (`book_ranking`), whose imports take seconds.
"""

from typing import Any

import polars as pl

from blofin_assets.shared.asset import time_text
from blofin_resources.errors import WarehouseError
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse


def books_now(store: Warehouse) -> tuple[str, dict[str, Any]]:
    """Return the newest ranking of books as one line, and its numbers for programs."""
    try:
        rows = store.read(query("strategy_cycle/books_now"))
    except WarehouseError:  # the warehouse is older than the table
        rows = pl.DataFrame()
    if rows.is_empty():
        return "none ranked yet: the next strategy cycle runs them once there is enough history", {}
    row = rows.row(0, named=True)
    told = (
        f"{row['active']} of {row['ranked']} active since {time_text(row['as_of'])}, on a holdout of {row['days']} "
        f"days; {row['supported']} supported; the best: {row['best']}"
    )
    return told, {**row, "as_of": row["as_of"].isoformat()}
