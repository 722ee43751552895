"""Books in the forward ledger: one replay, on deep history.

Belongs here: what a replay of a book adds, which code it rests on. Does not belong here: the asset (`assets`), the
ledger's arithmetic (`backtester.forward_ledger`).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import polars as pl

from backtester.forward_ledger import (
    BOOK_ENGINE,
    ENGINE,
    ENTRY_COLUMNS,
    TRADE_COLUMNS,
    Advance,
    Ledger,
    Replay,
    advance,
    replay_of_book,
)
from blofin_assets.shared.deep_market import DeepMarket, stored_span
from blofin_assets.shared.vocabulary import Kind
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from strategies.language.book import Book


class Rows(Protocol):
    """Rows of a run that earlier keys wrote: entries, trades, hourly equity."""

    @property
    def entries(self) -> pl.DataFrame:
        """Rows of `research.forward_entries`."""
        ...

    @property
    def trades(self) -> pl.DataFrame:
        """Rows of `research.forward_trades`."""
        ...

    @property
    def hours(self) -> pl.DataFrame:
        """Rows of `research.forward_equity`."""
        ...


def advanced_book(
    store: Warehouse,
    book: Book,
    universe: Callable[[], DeepMarket],
    window: tuple[datetime, datetime],
    own: Rows,
    none: Advance,
) -> tuple[Advance, str]:
    """Return what a replay of a book adds to its rows, and why it could not be run; '' where it could.

    Parameters
    ----------
    store : Warehouse
        Where deep history is stored.
    book : Book
        The version.
    universe : callable
        Returns what it runs on from its activation.
    window : tuple of datetime
        Activation, and the end of the record or the key (UTC).
    own : Rows
        What earlier keys wrote.
    none : Advance
        What a replay adds that finds nothing.

    Returns
    -------
    tuple of Advance and str
        New rows and differences; the reason.

    Notes
    -----
    Deep history comes once a day, so a key may find no bar after the last row: the ledger goes on from that row.
    """
    (start, until), horizon = window, own.hours["ts"].max()
    entries, trades = own.entries.select(*ENTRY_COLUMNS, "as_of"), own.trades.select(*TRADE_COLUMNS, "as_of")
    ledger = Ledger(entries, trades, horizon if isinstance(horizon, datetime) else None)
    try:
        if until <= start or stored_span(store, book.timeframe, until)[1] <= start:
            return none, ""
        market = universe()
        found = market.prepared.backtest(book, start=start)
    except BlofinError as error:  # of this book's data: the others go on
        return none, str(error)
    return advance(ledger, _before(replay_of_book(found), until), min(until, market.end)), ""


def engine_of(kind: Kind) -> str:
    """Return the module that turns what is of a kind into fills."""
    return BOOK_ENGINE if kind == Kind.BOOK else ENGINE


def _before(replay: Replay, until: datetime) -> Replay:
    """Return a replay without what was known only after a time: a record that ended is not followed further."""
    return Replay(
        replay.entries.filter(pl.col("entry_ts") < until),
        replay.trades.filter(pl.col("exit_ts") < until),
        replay.returns.filter(pl.col("ts") <= until),
    )
