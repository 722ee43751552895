"""The assets of the library of books and of their validation.

Belongs here: storing every version with its code, and validating each version once, before its holdout. Does not
belong here: the checks themselves (`strategies.validation.books`).
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.market.deep_assets import deep_funding
from blofin_assets.shared.asset import lineage, stage_asset
from blofin_assets.shared.cadences import STRATEGY_CYCLE
from blofin_assets.shared.cycle_events import require_cycle_order
from blofin_assets.shared.deep_market import score_lead, shared_market
from blofin_assets.shared.fence import each_alone
from blofin_assets.shared.partitions import day_start, two_days
from blofin_assets.shared.vocabulary import Author, LifecycleNote, LifecycleState, Source
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.book_market import GROUP, book_windows, not_run
from blofin_assets.strategy_cycle.library import CUTS, verdicts
from blofin_assets.strategy_cycle.population import BOOKS, loaded_versions
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.warehouse import Warehouse
from features.bars import TS, Timeframe
from features.market import Market
from strategies.language.book import Book
from strategies.validation.books import UNSCORED, validate_book

VALIDATED_ON: Final[dict[Timeframe, timedelta]] = {
    "60m": timedelta(days=14), "4h": timedelta(days=56), "1d": timedelta(days=180),
}  # fmt: skip
"""Time on which a version is validated, after the warm-up of its features; other timeframes have no deep history."""
SYMBOLS: Final = 8
"""Symbols on which a version is validated: words that compare symbols need five at every bar that they average."""


@stage_asset(group=GROUP, table="research.books", partitions=two_days, deps=[lineage(deep_funding, steps_back=1)])
def book_library(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """All books with code, one row per version, generated from the code itself."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    require_cycle_order(store, STRATEGY_CYCLE, as_of)
    windows = book_windows(store, market, as_of)
    if isinstance(windows, str):
        return not_run(windows)
    books, broken = loaded_versions(BOOKS)
    rows = pl.DataFrame(
        {
            "name": [book.name for book in books],
            "version": [book.version for book in books],
            "code": [book.source() for book in books],
            "parameters": [json.dumps(book.parameters, sort_keys=True) for book in books],
        }
    ).with_columns(
        pl.lit(Source.LIBRARY).alias("source"),
        pl.lit(Author.LIBRARY).alias("author"),
        pl.lit(as_of).cast(TS).alias("created_at"),
    )
    events = rows.select(
        "name", "version", pl.lit(LifecycleState.CANDIDATE).alias("event"), pl.col("created_at").alias("begins_at")
    )
    with store.transaction(context.run.run_id) as tx:
        tx.append("research.books", rows, key=["name", "version"])
        tx.append("research.book_lifecycle", events, key=["name", "version", "event"])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "as_of": as_of.isoformat(),
            "left_out": "; ".join(f"{name}: {why}" for name, why in broken.items()) or "none",
            "snapshot": tx.snapshot,
        }
    )


@stage_asset(group=GROUP, table="research.book_lifecycle", partitions=two_days, deps=[book_library])
def book_validation(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Validation of each book: no look-ahead, not of other symbols either, and no price known by heart."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    windows = book_windows(store, market, as_of)
    if isinstance(windows, str):
        return not_run(windows)
    judged = verdicts(store, as_of, BOOKS)
    waiting = [book for book in loaded_versions(BOOKS)[0] if (book.name, book.version) not in judged]
    rows, unread = judged_books(store, waiting, windows.holdout.start, as_of, market.seed)
    with store.transaction(context.run.run_id) as tx:
        tx.append("research.book_lifecycle", rows, key=["name", "version", "event"])
    refused = rows.filter(pl.col("event") == LifecycleState.REFUSED).select("name", "reason")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "refused": ", ".join(f"{name} ({reason})" for name, reason in refused.iter_rows()) or "none",
            "without_data": ", ".join(unread) or "none",
            "snapshot": tx.snapshot,
        }
    )


def judged_books(
    store: Warehouse, waiting: Sequence[Book], until: datetime, as_of: datetime, seed: int
) -> tuple[pl.DataFrame, list[str]]:
    """Validate books and return an event for each: `validated`, or `refused` with the reason.

    A book that has no score on these bars, since the source lacks what it reads, gets no verdict: it is looked at again
    in the next cycle.

    Parameters
    ----------
    store : Warehouse
        Where deep history is stored.
    waiting : sequence of Book
        Versions without a verdict.
    until : datetime
        Nothing later is read: the start of the holdout (UTC).
    as_of : datetime
        As-of of the cycle.
    seed : int
        Seed of the checks.

    Returns
    -------
    tuple of DataFrame and list of str
        Rows of `research.book_lifecycle`; names without a verdict.
    """

    def reason_of(book: Book) -> str:
        findings = validate_book(book, validation_frames(store, book, until), cuts=CUTS, seed=seed)
        if any(finding.detail == UNSCORED for finding in findings):
            return UNSCORED
        return "; ".join(f"{x.check} on {x.timeframe}: {x.detail}" for x in findings)

    checked = each_alone(waiting, reason_of)
    reasons = [*checked.done, *((book, f"it cannot be validated: {why}") for book, why in checked.failed)]
    unread = [book.name for book, reason in reasons if reason == UNSCORED]
    rows = [
        (book.name, book.version, LifecycleState.REFUSED if reason else LifecycleNote.VALIDATED, reason)
        for book, reason in reasons
        if reason != UNSCORED
    ]
    schema = dict.fromkeys(("name", "version", "event", "reason"), pl.String)
    events = pl.DataFrame(rows, schema=schema, orient="row")
    return events.with_columns(pl.lit(as_of).cast(TS).alias("begins_at")), unread


def validation_frames(store: Warehouse, book: Book, until: datetime) -> Market:
    """Return the market on which a book is validated.

    Parameters
    ----------
    store : Warehouse
        Where deep history is stored.
    book : Book
        Its features decide how early the bars begin.
    until : datetime
        Nothing later is read (UTC).

    Returns
    -------
    Market
        Of the symbols with the most bars.

    Raises
    ------
    BlofinError
        If the book needs bars or predictions that deep history does not have.
    """
    start = until - VALIDATED_ON[book.timeframe]
    return shared_market(store, [book], start, until).frames(SYMBOLS, start - score_lead(book))
