"""The windows of books in a cycle, and the stored universe on which they run.

Belongs here: whether books can run, on which window, on what. Does not belong here: the lengths of windows
(`backtester.statistics.windows`), reading deep history (`blofin_assets.shared.deep_market`).
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, Final

import dagster as dg

from backtester.simulation.book_kernel import WINDOW
from backtester.simulation.lanes import DEFAULT_CAPITAL
from backtester.statistics.windows import CycleWindows, Window, cycle_windows
from blofin_assets.shared.book_rows import BookRun
from blofin_assets.shared.cycle_events import deep_done
from blofin_assets.shared.deep_market import shared_market, universe_start
from blofin_assets.shared.fence import Sorted, each_alone
from blofin_resources.dagster_resources import MarketResource
from blofin_resources.market.universe import parse_rule
from blofin_resources.warehouse import Warehouse
from strategies.language.book import Book

GROUP: Final = "books"
WARMUP: Final = timedelta(hours=WINDOW)
"""History that volatilities and betas of hourly books need before the search window."""


def book_windows(store: Warehouse, market: MarketResource, as_of: datetime) -> CycleWindows | str:
    """Return the search window and the holdout of books in a cycle, or in one line why there is none.

    Parameters
    ----------
    store : Warehouse
        Where deep history is stored.
    market : MarketResource
        Whose universe it is.
    as_of : datetime
        As-of of the cycle.

    Returns
    -------
    CycleWindows or str
        The holdout is the same for all books, whatever their bars, so that their scores are of one time.
    """
    if parse_rule(market.universe) is None:
        return "not run: BLOFIN_UNIVERSE is off"
    start = date.fromisoformat(market.deep_start) if market.deep_start else None
    if not deep_done(store, as_of, market.universe, start):
        return f"not run: deep history is not complete up to {as_of:%Y-%m-%d}; run `blofin run`"
    begun = universe_start(store, as_of)
    if begun is None:
        return f"not run: the universe {market.universe} has never had five members with bars"
    windows = cycle_windows(as_of, begun, WARMUP, long=True)
    if windows.holdout.start < begun:
        days, needed = (as_of - begun).days, windows.holdout.length.days
        return f"not run: the universe has {days} days of history, the holdout of a book takes {needed}"
    return windows


def not_run(reason: str) -> dg.MaterializeResult[Any]:
    """Return what a stage that did not run shows."""
    dg.get_dagster_logger().info(f"books: {reason}")
    return dg.MaterializeResult(metadata={"dagster/row_count": 0, "books": reason})


def run_books(
    store: Warehouse, books: Sequence[Book], window: Window, universe: str, capital: float = DEFAULT_CAPITAL
) -> Sorted[Book, BookRun]:
    """Backtest books on the stored universe, each alone.

    Parameters
    ----------
    store : Warehouse
        Where deep history is stored.
    books : sequence of Book
        What is run.
    window : Window
        Nothing after its end is read.
    universe : str
        The rule of the universe.
    capital : float
        Of each book, quote currency.

    Returns
    -------
    Sorted
        The runs in the order of the books, and the reasons of those that failed.
    """
    runs: Sorted[Book, BookRun] = Sorted([], [])
    for _, group in groupby(sorted(books, key=lambda book: book.timeframe), lambda book: book.timeframe):
        same = list(group)
        market = shared_market(store, same, window.start, window.end)

        def run(book: Book, market: Any = market) -> BookRun:
            found = market.prepared.backtest(book, start=market.start, capital=capital)
            return BookRun(book, market, found, universe)

        part = each_alone(same, run)
        runs.done.extend(part.done)
        runs.failed.extend(part.failed)
    place = {(book.name, book.version): number for number, book in enumerate(books)}
    runs.done.sort(key=lambda item: place[item[0].name, item[0].version])
    return runs
