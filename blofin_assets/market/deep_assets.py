"""Deep history and the universe: listings, days, membership, hours, funding.

Belongs here: the assets of years of hours and days. Does not belong here: minutes (`assets`), what is lacking and how
it is stored (`blofin_resources.market.deep`), who is a member (`blofin_resources.market.universe`).

A key is a midnight, up to which everything is brought, whatever was stored before. Days come first, of every symbol
listed; from them follow the members, and of each symbol that ever was one come hours and funding.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl
from matplotlib.figure import Figure

from blofin_assets.market.assets import fetch_result
from blofin_assets.shared.asset import STEP_TAG, stage_asset, table_preview
from blofin_assets.shared.cycle_events import mark_deep_done
from blofin_assets.shared.partitions import DAY, day_start, days
from blofin_assets.shared.plots import COLOURS, markdown_png
from blofin_assets.shared.windows import cycle_as_of
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.errors import MarketError
from blofin_resources.market import source as base
from blofin_resources.market.deep import (
    DEEP_1D,
    DEEP_60M,
    DEEP_FUNDING,
    Deep,
    current_listings,
    lacking_symbols,
    log_differences,
    store_deep,
    store_listings,
    stored_listings,
)
from blofin_resources.market.registry import deep_start
from blofin_resources.market.universe import OFF, WINDOW, Rule, listed_since, membership, parse_rule
from blofin_resources.warehouse import Warehouse
from features.bars import TS

GROUP: Final = "universe"

FRESH: Final = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26))
"""Deep history comes each day; the UI warns after a missed day."""

CHUNK: Final = timedelta(days=180)
"""Days of the universe that are decided and stored at once: memory does not grow with the years."""

COMPARED: Final = 7 * DAY
"""How much of the latest hours is compared with their minutes."""

SHOWN: Final = 60
"""Symbols in the picture of membership: those that were members on most days."""


@stage_asset(group=GROUP, table="market.listings", partitions=days, ranged=True)
def listings(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Symbols that the source has bars of an hour or a day of, delisted ones included; one row per change."""
    store, source, as_of = warehouse.open(), market.source(), _as_of(context, clock)
    found = current_listings(store, source, as_of)
    chosen = _rule(market).chosen
    if chosen:
        base.require_known(chosen, found["symbol"].to_list(), f"{source.identity} (BLOFIN_UNIVERSE)")
    changed, snapshot = store_listings(store, found, as_of, context.run.run_id)
    delisted = found.filter(pl.col("state") == base.DELISTED)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": found.height,
            "delisted": delisted.height,
            "snapshot": snapshot,
            "preview": table_preview(changed),
        }
    )


Then = Callable[[dg.AssetExecutionContext, Warehouse, MarketResource, datetime], Mapping[str, Any]]
"""What follows the storing of rows up to an as-of; returns further metadata."""


def _nothing(*_: object) -> Mapping[str, Any]:
    return {}


def _fetched(dataset: Deep, after: dg.AssetsDefinition, description: str, then: Then = _nothing) -> dg.AssetsDefinition:
    """Return the asset that brings a dataset up to the as-of, and logs what is passed over."""

    def fetch(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
    ) -> dg.MaterializeResult[Any]:
        store, as_of = warehouse.open(), _as_of(context, clock)
        taken = store_deep(
            store, market.source(), dataset, _listed(store, market, dataset, as_of), _start(market, dataset, as_of),
            as_of, as_of=as_of, run_id=context.run.run_id, force=STEP_TAG not in context.run.tags,
        )  # fmt: skip
        for line in taken.passed_over:
            context.log.warning(line)
        further = then(context, store, market, as_of)
        return dg.MaterializeResult(metadata={**(fetch_result(taken).metadata or {}), **further})

    fetch.__doc__ = description
    return stage_asset(
        group=GROUP,
        table=f"market.{dataset.name}",
        partitions=days,
        ranged=True,
        deps=[after],
        freshness=FRESH,
        name=dataset.name,
    )(fetch)


deep_1d: Final = _fetched(
    DEEP_1D,
    listings,
    "Days of every symbol listed, as the source reports them; the universe is chosen from their volumes.",
)


@stage_asset(group=GROUP, table="market.universe", partitions=days, ranged=True, deps=[deep_1d], freshness=FRESH)
def universe(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Which symbols make up the universe on each day, decided at its beginning from closed days alone.

    Every day is decided again from the stored days, and what differs is stored: a day that was complete stays the same.
    """
    store, as_of, rule = warehouse.open(), _as_of(context, clock), _rule(market)
    snapshot = None
    for first, last in _spans(store, as_of):
        decided = _decide(store, rule, first, last, as_of)
        with store.transaction(context.run.run_id) as tx:
            tx.replace("market.universe", decided, first, last + DAY, time_column="day")
        snapshot = tx.snapshot
    today = store.read(
        "SELECT symbol, rank, member, reason, quote_volume FROM market.universe WHERE day = ? ORDER BY rank, symbol",
        [as_of.date()],
    )
    members = today.filter("member")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": today.height,
            "members": members.height,
            "rule": market.universe + (" (chosen today: it knows which symbols survived)" if rule.chosen else ""),
            "snapshot": snapshot,
            "membership": dg.MetadataValue.md(markdown_png(membership_figure(store), "members over time")),
            "preview": table_preview(today, 40),
        }
    )


def _compare_with_minutes(
    context: dg.AssetExecutionContext, store: Warehouse, market: MarketResource, as_of: datetime
) -> Mapping[str, Any]:
    differing = log_differences(
        store, market.symbols, as_of - COMPARED, as_of, as_of=as_of, run_id=context.run.run_id
    )  # fmt: skip
    return {"differing_from_minutes": differing.height}


deep_60m: Final = _fetched(
    DEEP_60M,
    universe,
    "Hours of every symbol that was a member of the universe, over the whole history; late revisions are logged.",
    _compare_with_minutes,
)


def _finish(
    context: dg.AssetExecutionContext, store: Warehouse, market: MarketResource, as_of: datetime
) -> Mapping[str, Any]:
    for dataset in (DEEP_1D, DEEP_60M):
        _require_complete(store, market, dataset, as_of)
    start = date.fromisoformat(market.deep_start) if market.deep_start else None
    mark_deep_done(store, as_of, market.universe, start, context.run.run_id)
    return {}


deep_funding: Final = _fetched(
    DEEP_FUNDING,
    deep_60m,
    "Funding of the symbols that have hours, over the whole history, at the payments' actual times.",
    _finish,
)


def membership_figure(store: Warehouse) -> Figure:
    """Return the picture of who was a member when: a row for each symbol, those that were members longest above."""
    rows = store.read(
        "SELECT symbol, list(day ORDER BY day) AS days, count(*) AS n FROM market.universe WHERE member "
        "GROUP BY symbol ORDER BY n DESC, symbol LIMIT ?",
        [SHOWN],
    )
    figure = Figure(figsize=(9, 1.5 + 0.16 * max(rows.height, 1)), layout="constrained")
    axes = figure.subplots()
    for place, (_, members, _) in enumerate(rows.iter_rows()):
        begins = [day for day, before in zip(members, [None, *members[:-1]], strict=True) if before != day - DAY]
        ends = [day for day, after in zip(members, [*members[1:], None], strict=True) if after != day + DAY]
        spans = [(begin, end - begin + DAY) for begin, end in zip(begins, ends, strict=True)]
        axes.broken_barh(spans, (place - 0.4, 0.8), color=COLOURS[0])
    axes.set_yticks(range(rows.height), rows["symbol"].to_list(), fontsize=6)
    axes.set_ylim(max(rows.height, 1) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    return figure


def _require_complete(store: Warehouse, market: MarketResource, dataset: Deep, as_of: datetime) -> None:
    """Refuse to call deep history complete while a dataset lacks symbols: its run failed, or its check."""
    listed, start = _listed(store, market, dataset, as_of), _start(market, dataset, as_of)
    lacking = lacking_symbols(store, market.source(), dataset, listed, start, as_of)
    if lacking:
        msg = f"{dataset.name} lacks {', '.join(lacking)} up to {as_of:%Y-%m-%d}; materialise {dataset.name} first"
        raise MarketError(msg)


def _listed(store: Warehouse, market: MarketResource, dataset: Deep, as_of: datetime) -> pl.DataFrame:
    """Return the symbols of a dataset: days of all that are listed, the others of those that were members."""
    listed = stored_listings(store, as_of)
    if dataset is DEEP_1D:
        return listed
    members = store.read(
        "SELECT DISTINCT symbol FROM market.universe WHERE member AND day >= ? AND day <= ?",
        [_start(market, dataset, as_of).date(), as_of.date()],
    )
    return listed.filter(pl.col("symbol").is_in(members["symbol"].to_list()))


def _spans(store: Warehouse, as_of: datetime) -> Iterator[tuple[date, date]]:
    """Yield the days that follow the first stored one up to the as-of's, in chunks of both ends included."""
    begun = store.read("SELECT min(ts) AS ts FROM market.deep_1d WHERE ts < ?", [as_of])["ts"][0]
    if begun is None:
        msg = "the source has no daily bars of any symbol; see market.listings"
        raise MarketError(msg)
    first, last = begun.date() + DAY, as_of.date()
    while first <= last:
        yield first, min(first + CHUNK - DAY, last)
        first += CHUNK


def _decide(store: Warehouse, rule: Rule, first: date, last: date, as_of: datetime) -> pl.DataFrame:
    daily = store.read(
        "SELECT symbol, ts, coalesce(quote_volume, volume * close) AS quote_volume FROM market.deep_1d "
        "WHERE ts >= ? AND ts < ?",
        [day_start(first.isoformat()) - WINDOW * DAY, day_start(last.isoformat())],
    ).with_columns(pl.col("ts").cast(TS))
    opened = store.read("SELECT symbol, min(ts) AS first FROM market.deep_1d GROUP BY symbol").cast({"first": TS})
    return membership(daily, listed_since(stored_listings(store, as_of), opened), rule, first, last)


def _as_of(context: dg.AssetExecutionContext, clock: ClockResource) -> datetime:
    """Return the midnight that the last key names."""
    return cycle_as_of(context, clock, day_start)


def _start(market: MarketResource, dataset: Deep, as_of: datetime) -> datetime:
    """Return midnight of the first day of deep history; days begin earlier, for the universe of the first day."""
    day = date.fromisoformat(market.deep_start) if market.deep_start else None
    begin = deep_start(market.market, day, as_of)
    return begin - (WINDOW + 1) * DAY if dataset is DEEP_1D else begin


def _rule(market: MarketResource) -> Rule:
    rule = parse_rule(market.universe)
    if rule is None:
        msg = f"BLOFIN_UNIVERSE is {OFF}; set it to top:30, all, or symbols joined by commas"
        raise MarketError(msg)
    return rule


ASSETS: Final = [listings, deep_1d, universe, deep_60m, deep_funding]
"""In the order in which they run."""
