"""Since when stored market data differs from what a replay read earlier.

Belongs here: comparing candles, funding and mark prices with those of a snapshot. Does not belong here: what a
difference in the ledger is attributed to (`backtester.forward_ledger`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import polars as pl

from blofin_resources.market.bases import stored_by_base
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse

_HAS_MARKS: Final = (
    "SELECT 1 FROM information_schema.tables "
    "WHERE table_catalog = current_database() AND table_schema = 'market' AND table_name = 'mark_candles_1m'"
)


def first_change(
    store: Warehouse, snapshot: int, symbols: Sequence[str], start: datetime, end: datetime
) -> datetime | None:
    """Return the hour of the first bar, payment or mark price in a window that differs from a snapshot.

    Parameters
    ----------
    store : Warehouse
        Where market data is stored.
    snapshot : int
        The snapshot to compare with.
    symbols : sequence of str
        Symbols to compare.
    start, end : datetime
        The window (UTC).

    Returns
    -------
    datetime or None
        None if nothing differs.
    """
    window = {"start": start, "end": end, "symbols": list(symbols)}
    marks_of, changed = query("forward/hourly_marks"), []
    for base in stored_by_base(store, symbols):
        candles_of = query("forward/hourly_candles").replace("candles_1m", f"candles_{base}")
        changed.append(_unlike(store.read(candles_of, window), store.read_at(snapshot, candles_of, window)))
    marks = store.read(marks_of, window)
    # a snapshot may be older than the table; mark prices added since count as a change
    had = not store.read_at(snapshot, _HAS_MARKS).is_empty()
    changed.append(_unlike(marks, store.read_at(snapshot, marks_of, window) if had else marks.clear()))
    first = pl.concat(frame["hour"] for frame in changed).min()
    return first if isinstance(first, datetime) else None


def _unlike(now: pl.DataFrame, then: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([now.join(then, on=now.columns, how="anti"), then.join(now, on=now.columns, how="anti")])
