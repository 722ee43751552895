"""Asset checks: what must hold of stored data, whoever wrote it.

Belongs here: turning violations into check results. Does not belong here: finding them
(`blofin_resources.market.checks`, `Warehouse.integrity`).

Checks are unpartitioned: they look at every day of the run's range and name failing days in their metadata.
"""

from datetime import datetime
from typing import Final

import dagster as dg
import polars as pl

from blofin_assets.assets.common import table_preview
from blofin_assets.assets.market import candles_1d, candles_1m, candles_5m, candles_60m
from blofin_assets.assets.reports import daily_report
from blofin_assets.partitions import DAY, day_start
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.market.checks import check_all
from features.bars import Timeframe

MILD: Final = frozenset({"incomplete_days", "jumps"})
"""Checks whose violations may be the market's own: they warn, the others fail."""


def _sound_candles(asset: dg.AssetsDefinition, timeframe: Timeframe) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name="sound_candles",
        description="OHLC order, positive prices, duplicates, time order, grid; gaps and lone jumps warn.",
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        warehouse: WarehouseResource,
        market: MarketResource,
        clock: ClockResource,
    ) -> dg.AssetCheckResult:
        start, end = _range(context, clock)
        candles = warehouse.open().candles(market.symbols, timeframe, start, end)
        found = check_all(candles, timeframe, start, end, market.symbols)
        failed = {name: rows for name, rows in found.items() if name not in MILD}
        shown = pl.concat(
            [rows.with_columns(pl.lit(name).alias("check")) for name, rows in found.items()], how="diagonal"
        ) if found else pl.DataFrame()  # fmt: skip
        return dg.AssetCheckResult(
            passed=not found,
            severity=dg.AssetCheckSeverity.ERROR if failed else dg.AssetCheckSeverity.WARN,
            metadata={
                "bars": candles.height,
                "violations": sum(rows.height for rows in found.values()),
                **({"first_violations": table_preview(shown)} if found else {}),
            },
        )

    return check


@dg.asset_check(asset=daily_report, description="No table of the warehouse holds a key twice.")
def unique_keys(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Fail where a table holds a key twice."""
    broken = warehouse.open().integrity()
    return dg.AssetCheckResult(passed=not broken, metadata={"broken": "; ".join(broken) or "none"})


CHECKS: Final = [
    _sound_candles(candles_1m, "1m"),
    _sound_candles(candles_5m, "5m"),
    _sound_candles(candles_60m, "60m"),
    _sound_candles(candles_1d, "1d"),
    unique_keys,
]


def _range(context: dg.AssetCheckExecutionContext, clock: ClockResource) -> tuple[datetime, datetime]:
    """Return the window that the run's keys name, cut at its as-of."""
    tags = context.run.tags
    first = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_start")
    last = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_end")
    as_of = clock.as_of(context.run)
    if first is None or last is None:
        return as_of - DAY, as_of
    return day_start(first), min(day_start(last) + DAY, as_of)
