"""Asset checks of deep history and the universe.

Belongs here: turning violations into check results. Does not belong here: finding unsound bars
(`blofin_resources.market.checks`), checks of minutes (`checks`).
"""

from datetime import datetime, timedelta
from typing import Final

import dagster as dg
import polars as pl

from blofin_assets.market.checks import check_result
from blofin_assets.market.deep_assets import COMPARED, deep_1d, deep_60m, universe
from blofin_assets.shared.windows import run_midnight
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.market import checks
from blofin_resources.market.deep import DEEP_1D, DEEP_60M, Deep, set_checked, stored_listings, unchecked
from blofin_resources.market.source import DELISTED
from blofin_resources.market.universe import WINDOW
from blofin_resources.queries import query

AT_ONCE: Final = 10
"""Symbols whose bars are checked at once."""

MAX_STALENESS: Final = timedelta(days=2)
"""How long before the as-of the last bar of a traded symbol may have closed."""


def _sound(asset: dg.AssetsDefinition, dataset: Deep) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name="sound_candles",
        blocking=True,
        description=(
            "OHLC order, positive prices, duplicates, time order, grid: the bars that were stored since the last "
            "check, by whichever run. The next run fetches the symbols that fail once more."
        ),
    )
    def check(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
        store, found, count = warehouse.open(), [], 0
        for bars in unchecked(store, dataset, AT_ONCE):
            count += bars.height
            found.append(checks.unsound(bars, dataset.timeframe or "60m"))
        names = sorted({name for each in found for name in each})
        wrong = {name: pl.concat([each[name] for each in found if name in each]) for name in names}
        unsound = sorted({symbol for each in wrong.values() for symbol in each["symbol"]})
        set_checked(store, dataset, unsound, context.run.run_id)
        return check_result(wrong, dg.AssetCheckSeverity.ERROR, {"bars": count})

    return check


def _fresh(asset: dg.AssetsDefinition, dataset: Deep) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name="complete_and_fresh",
        description=f"No new gaps, and the last bar of each traded symbol closed at most {MAX_STALENESS} before.",
    )
    def check(
        context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource, clock: ClockResource
    ) -> dg.AssetCheckResult:
        store, as_of = warehouse.open(), run_midnight(context, clock)
        live = stored_listings(store, as_of).filter(pl.col("state") != DELISTED)["symbol"].to_list()
        gaps = store.read(query("market/new_deep_gaps"), {"dataset": dataset.name, "since": as_of})
        stale = store.read(
            "SELECT symbol, through AS ts, 'the last bar closed ' || through::VARCHAR AS detail "
            "FROM market.deep_coverage WHERE dataset = ? AND symbol IN (SELECT unnest(?)) AND through < ?",
            [dataset.name, live, as_of - MAX_STALENESS],
        ).cast(checks.VIOLATION_SCHEMA)
        return check_result(
            {"gaps": gaps.cast(checks.VIOLATION_SCHEMA), "staleness": stale},
            dg.AssetCheckSeverity.WARN,
            {"symbols": len(live)},
        )

    return check


@dg.asset_check(
    asset=deep_60m,
    name="agrees_with_minutes",
    description="Hours that were fetched are what their minutes make; differences are logged as revisions.",
)
def agrees_with_minutes(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.AssetCheckResult:
    """Warn of logged differences of the last week."""
    as_of = run_midnight(context, clock)
    window = {"start": as_of - COMPARED, "end": as_of, "symbols": list(market.symbols)}
    found = warehouse.open().read(query("market/minutes_differ"), window)
    return check_result({"agreement": found.cast(checks.VIOLATION_SCHEMA)}, dg.AssetCheckSeverity.WARN, {})


@dg.asset_check(
    asset=universe,
    name="sound_membership",
    blocking=True,
    description=f"No member without a bar in the {WINDOW} days before, and none listed for less than {WINDOW} days.",
)
def sound_membership(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource, clock: ClockResource
) -> dg.AssetCheckResult:
    """Look at every member of every day, by the bars and not by how it was chosen."""
    as_of: datetime = run_midnight(context, clock)
    found = warehouse.open().read(query("market/wrong_members"), {"until": as_of.date(), "window": WINDOW})
    wrong = {"membership": found.cast(checks.VIOLATION_SCHEMA)}
    return check_result(wrong, dg.AssetCheckSeverity.ERROR, {})


CHECKS: Final = [
    _sound(deep_1d, DEEP_1D),
    _fresh(deep_1d, DEEP_1D),
    sound_membership,
    _sound(deep_60m, DEEP_60M),
    _fresh(deep_60m, DEEP_60M),
    agrees_with_minutes,
]
