"""What the commands of the bench run books on: one window of the stored universe, for books on several timeframes.

Belongs here: from options of a window to books that were run in it, each a counted trial. Does not belong here: reading
deep history (`blofin_assets.shared.deep_market`), windows of lanes (`blofin_assets.cli.stored`), tables.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, product
from typing import Final

import polars as pl

from backtester.evaluation.book_breakdown import book_episodes
from backtester.simulation.book_kernel import FEWEST
from backtester.statistics.overfitting import LAGS, SharpeEvidence, sharpe_evidence, sharpe_se_newey_west
from backtester.statistics.windows import Window
from blofin_assets.cli.session import Session
from blofin_assets.cli.stored import Span, check_span
from blofin_assets.shared.book_rows import (
    BookRun,
    book_trial_rows,
    hourly_book_returns,
    zero_cost_returns,
)
from blofin_assets.shared.deep_market import DeepMarket, shared_market, stored_span
from blofin_assets.shared.trial_ledger import count_trials
from blofin_assets.shared.vocabulary import Author, Kind
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features.bars import MINUTES, Timeframe, bar_length, floor_time
from strategies.language.book import Book

_LATE: Final = 2
"""Rebalances after which a first decision is told as late."""
_CORNERS: Final = 256
"""Most corners of a grid that are looked at."""
_RESOLUTION: Final = timedelta(microseconds=1)


@dataclass(frozen=True, eq=False)
class StoredBooks:
    """A window of the stored universe, ready for books.

    Attributes
    ----------
    session : Session
        Open warehouse.
    window : Window
        From a full bar to a full bar of every timeframe.
    markets : dict of Timeframe to DeepMarket
        Of this window.
    """

    session: Session
    window: Window
    markets: Mapping[Timeframe, DeepMarket]

    def run(self, book: Book, run_id: str) -> BookRun:
        """Backtest a book on the window, and count the trial."""
        market = self.markets[book.timeframe]
        found = market.prepared.backtest(book, start=self.window.start)
        run = BookRun(book, market, found, self.session.settings.universe)
        count_book(self.session, run, run_id)
        return run

    def told(self) -> str:
        """Say what books traded: the universe and the timeframes."""
        return f"universe {self.session.settings.universe} on {', '.join(self.markets)}"

    def notes(self) -> list[str]:
        """Return a line for each timeframe: how many members, and whether somebody chose them today."""
        universe = self.session.settings.universe
        return list(dict.fromkeys(f"universe {universe}: {members_text(market)}" for market in self.markets.values()))


def stored_books(
    session: Session, books: Sequence[Book], start: datetime | timedelta | None, end: datetime
) -> StoredBooks:
    """Read the stored universe for books over one window.

    Parameters
    ----------
    session : Session
        Open warehouse.
    books : sequence of Book
        What will run on it, at least one.
    start : datetime or timedelta, optional
        Begin of the window (UTC), or its length. By default the first midnight at which every one may decide.
    end : datetime
        Nothing later is read (UTC).

    Returns
    -------
    StoredBooks
        From the first to the last bar that all have.

    Raises
    ------
    BlofinError
        If the window has no bar of one of them.
    """
    store = session.warehouse
    last = last_common(store, books, end)
    longest = max((bar_length(book.timeframe) for book in books), default=timedelta(hours=1))
    begin = last - start if isinstance(start, timedelta) else start
    aligned = None if begin is None else floor_time(begin.astimezone(UTC) + longest - _RESOLUTION, longest)
    groups = {name: [book for book in books if book.timeframe == name] for name in _frames(books)}
    markets = {name: shared_market(store, group, aligned, last) for name, group in groups.items()}
    first = max(market.start for market in markets.values())
    if first >= last:
        msg = f"the window is empty: its start {first:%Y-%m-%d %H:%M} is not before its end {last:%Y-%m-%d %H:%M}"
        raise BlofinError(msg)
    whole = {
        name: market if market.start == first else shared_market(store, groups[name], first, last)
        for name, market in markets.items()
    }
    return StoredBooks(session, Window(first, last), whole)


def stored_books_of(session: Session, books: Sequence[Book], span: Span) -> StoredBooks:
    """Read the stored universe for books over the window of a command's options.

    Parameters
    ----------
    session, books
        As for `stored_books`.
    span : Span
        The options.

    Returns
    -------
    StoredBooks
        As of `stored_books`.
    """
    end = span.as_of if span.end is None else min(span.end, span.as_of)
    return stored_books(session, books, span.start if span.days is None else timedelta(days=span.days), end)


def check_of_book(book: Book, symbols: str | None, timeframes: str | None, span: Span) -> None:
    """Refuse options that make no sense for a book, before anything is opened.

    Parameters
    ----------
    book : Book
        What will run.
    symbols, timeframes : str, optional
        As typed: these are of strategies.
    span : Span
        Options of the window.

    Raises
    ------
    BlofinError
        If one is given, or the window is malformed.
    """
    for option, value in (("--symbols", symbols), ("--timeframes", timeframes)):
        if value is not None:
            msg = f"{option}: {book.name} is a book: it trades its universe on {book.timeframe}; leave it out"
            raise BlofinError(msg)
    check_span(span)


def corners(book: Book, values: Mapping[str, Sequence[float]]) -> list[Book]:
    """Return a book, and its versions at the ends of ranges: what the slowest needs, all need at most.

    Parameters
    ----------
    book : Book
        As it is written.
    values : dict of str to sequence of float
        Of its parameters, ascending.

    Returns
    -------
    list of Book
        Those that can be; the book itself first.
    """
    found = [book]
    ends = [dict.fromkeys((each[0], each[-1])) for each in values.values()]
    for corner in islice(product(*ends), _CORNERS):
        with suppress(ValueError):  # a corner that cannot be needs nothing
            found.append(book.with_parameters(**dict(zip(values, corner, strict=True))))
    return found


def book_luck(run: BookRun, tries: int) -> SharpeEvidence:
    """Return the evidence of a book's Sharpe ratio with the number of trials."""
    error = sharpe_se_newey_west(zero_cost_returns(run), LAGS)
    episodes = book_episodes(run.evaluation)
    return sharpe_evidence(hourly_book_returns(run.evaluation), episodes, tries, () if error is None else (error,))


def last_common(store: Warehouse, books: Sequence[Book], end: datetime) -> datetime:
    """Return the last time at which a bar of every book's timeframe closes and is stored.

    Parameters
    ----------
    store : Warehouse
        Where deep history is.
    books : sequence of Book
        Whose timeframes must end there.
    end : datetime
        Later bars do not count (UTC).

    Returns
    -------
    datetime
        UTC; `end` itself without a book.
    """
    for timeframe in _frames(books):  # the longer ones close where the shorter ones do
        _, end = stored_span(store, timeframe, end)
    return end


def first_decision(run: BookRun) -> str | None:
    """Return a line where a book could not decide from the begin of its window on."""
    start, every = run.market.start, run.book.rules.rebalance
    known = run.evaluation.result.decisions.filter(pl.col("known") >= FEWEST)["ts"]
    if len(known) and known[0] <= start + _LATE * every:
        return None
    when = f"only from {known[0]:%Y-%m-%d %H:%M} on" if len(known) else "nowhere"
    return f"{run.name} knows enough scores to decide {when}: begin later, or store more history"


def count_book(session: Session, run: BookRun, run_id: str) -> int:
    """Record the trial of a book; return how many configurations of books were tried on an overlapping window.

    Parameters
    ----------
    session : Session
        Open warehouse.
    run : BookRun
        On its window.
    run_id : str
        Writer of the row.

    Returns
    -------
    int
    """
    store, market = session.warehouse, run.market
    row = book_trial_rows([run], Author.USER, market.end, store.snapshot_id())
    with store.transaction(run_id) as tx:
        tx.append("research.trials", row, key=["id"])
    return count_trials(store, Kind.BOOK, market.start, market.end)


def members_text(market: DeepMarket) -> str:
    """Say how many members the universe has, and whether somebody chose them today."""
    fewest, most = market.members
    counted = f"{fewest} members" if fewest == most else f"{fewest} to {most} members"
    chosen = " (chosen today: the list knows which symbols survived, which flatters the book)"
    return f"{counted} a day of {len(market.prepared.market.symbols)} symbols{chosen * market.chosen_today}"


def _frames(books: Sequence[Book]) -> list[Timeframe]:
    """Return the timeframes of some books, the shortest first."""
    return sorted({book.timeframe for book in books}, key=MINUTES.__getitem__)
