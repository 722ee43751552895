"""Since when stored market data differs from what a replay read earlier.

Belongs here: comparing candles, funding, mark prices and positioning data with those of a snapshot. Does not belong
here: what a difference in the ledger is attributed to (`backtester.forward_ledger`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import polars as pl

from blofin_resources.market.bases import stored_by_base
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse

_YOUNGER: Final = {"mark_candles_1m": query("forward/hourly_marks"), "positioning": query("forward/hourly_positioning")}
"""Tables that a snapshot may be too old to have, with what is asked of them: all that was added counts as a change."""
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HAS: Final = (
    "SELECT 1 FROM information_schema.tables "
    "WHERE table_catalog = current_database() AND table_schema = 'market' AND table_name = ?"
)


def first_change(
    store: Warehouse, snapshot: int, symbols: Sequence[str], start: datetime, end: datetime
) -> datetime | None:
    """Return the hour of the first row of market data in a window that differs from a snapshot.

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
    changed = []
    for base in stored_by_base(store, symbols):
        candles_of = query("forward/hourly_candles").format(base=base)
        changed.append(_unlike(store.read(candles_of, window), store.read_at(snapshot, candles_of, window)))
    for table, rows_of in _YOUNGER.items():
        now = store.read(rows_of, window)
        had = not store.read_at(snapshot, _HAS, [table]).is_empty()
        changed.append(_unlike(now, store.read_at(snapshot, rows_of, window) if had else now.clear()))
    first = pl.concat(frame["hour"] for frame in changed).min()
    return first if isinstance(first, datetime) else None


def first_deep_change(store: Warehouse, snapshot: int, end: datetime) -> datetime | None:
    """Return the hour of the first row of deep history or the universe before a time that differs from a snapshot.

    Parameters
    ----------
    store : Warehouse
        Where deep history is stored.
    snapshot : int
        The snapshot to compare with.
    end : datetime
        Later rows are not compared (UTC). Earlier ones are from the beginning: books read far back.

    Returns
    -------
    datetime or None
        None if nothing differs.
    """
    window, sql = {"start": _BEGINNING, "end": end}, query("forward/hourly_deep")
    first = _unlike(store.read(sql, window), store.read_at(snapshot, sql, window))["hour"].min()
    return first if isinstance(first, datetime) else None


def _unlike(now: pl.DataFrame, then: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([now.join(then, on=now.columns, how="anti"), then.join(now, on=now.columns, how="anti")])
