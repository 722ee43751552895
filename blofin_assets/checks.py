"""Asset checks: what must hold of stored data, whoever wrote it.

Belongs here: turning violations into check results. Does not belong here: finding them
(`blofin_resources.market.checks`, `Warehouse.integrity`).

Checks are unpartitioned: they look at every day of the run's range and name failing days in their metadata. A check is
blocking where what follows would be computed from wrong bars; what may be the market's own doing warns.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.assets.common import table_preview, withdraw
from blofin_assets.assets.market import candles_1d, candles_1m, candles_5m, candles_60m
from blofin_assets.assets.reports import daily_report
from blofin_assets.partitions import DAY, day_start
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.market import checks
from features.bars import Timeframe, bar_length, floor_time

MAX_STALENESS: Final = timedelta(minutes=15)
"""How long before the end of its day, or before the as-of, the last bar of a partition may have closed."""


def _sound_candles(asset: dg.AssetsDefinition, timeframe: Timeframe) -> dg.AssetChecksDefinition:
    made = "" if timeframe == "1m" else "; they are what their 1-minute bars make"

    @dg.asset_check(
        asset=asset,
        name="sound_candles",
        blocking=True,
        description=f"OHLC order, positive prices, duplicates, time order, grid, minutes inside{made}.",
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        warehouse: WarehouseResource,
        market: MarketResource,
        clock: ClockResource,
    ) -> dg.AssetCheckResult:
        start, end = run_window(context, clock)
        store, symbols = warehouse.open(), market.symbols
        candles = store.candles(symbols, timeframe, start, end)
        found = checks.unsound(candles, timeframe)
        whole = floor_time(end, bar_length(timeframe))
        if timeframe != "1m" and whole > start:
            minutes = store.candles(symbols, "1m", start, whole)
            found["agreement"] = checks.agreement(minutes, candles, timeframe)
        if any(rows.height for rows in found.values()):
            withdraw(store, f"candles_{timeframe}", symbols, (start, end), context.run.run_id)
        return _result(found, dg.AssetCheckSeverity.ERROR, {"bars": candles.height})

    return check


@dg.asset_check(
    asset=candles_1m,
    name="complete_and_fresh",
    description=(
        "Closed days have all their bars; no bar stands far from both neighbours; the last bar of each partition "
        f"closed at most {MAX_STALENESS} before its end or the as-of. What is missing is in market.gaps."
    ),
)
def complete_and_fresh(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.AssetCheckResult:
    """Warn of missing bars, lone jumps and partitions that end early."""
    start, end = run_window(context, clock)
    candles = warehouse.open().candles(market.symbols, "1m", start, end)
    found = {
        "incomplete_days": checks.incomplete_days(candles, "1m", start, end, market.symbols),
        "jumps": checks.jumps(candles),
        "staleness": checks.stale_days(candles, market.symbols, start, end, MAX_STALENESS),
    }
    newest = candles["ts"].max()
    behind = (end - newest).total_seconds() / 60 - 1 if isinstance(newest, datetime) else None
    return _result(found, dg.AssetCheckSeverity.WARN, {"bars": candles.height, "minutes_behind_as_of": behind})


@dg.asset_check(asset=daily_report, description="No table of the warehouse holds a key twice.")
def unique_keys(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Fail where a table holds a key twice."""
    broken = warehouse.open().integrity()
    return dg.AssetCheckResult(passed=not broken, metadata={"broken": "; ".join(broken) or "none"})


CHECKS: Final = [
    _sound_candles(candles_1m, "1m"),
    complete_and_fresh,
    _sound_candles(candles_5m, "5m"),
    _sound_candles(candles_60m, "60m"),
    _sound_candles(candles_1d, "1d"),
    unique_keys,
]


def _result(
    found: Mapping[str, pl.DataFrame], severity: dg.AssetCheckSeverity, told: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """Return the result of violations by the check's name, the first ones as a table."""
    wrong = [rows.with_columns(pl.lit(name).alias("check")) for name, rows in found.items() if rows.height]
    days = pl.concat(wrong)["ts"].dt.date().unique().sort().to_list() if wrong else []
    return dg.AssetCheckResult(
        passed=not wrong,
        severity=severity,
        description=_one_line(wrong) if wrong else None,
        metadata={
            **told,
            "violations": sum(rows.height for rows in wrong),
            "failing_days": ", ".join(str(day) for day in days) or "none",
            **({"first_violations": table_preview(pl.concat(wrong))} if wrong else {}),
        },
    )


def _one_line(wrong: list[pl.DataFrame]) -> str:
    """Return what is wrong, by the first violation of each kind."""
    first = [(rows.height, *rows.select("check", "symbol", "ts", "detail").row(0)) for rows in wrong]
    return "; ".join(
        f"{check}: {count} bars, first {symbol} {ts:%Y-%m-%dT%H:%MZ}: {detail}"
        for count, check, symbol, ts, detail in first
    )


def run_window(context: dg.AssetCheckExecutionContext, clock: ClockResource) -> tuple[datetime, datetime]:
    """Return the window that a run's keys name, cut at its as-of."""
    tags = context.run.tags
    first = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_start")
    last = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_end")
    as_of = clock.as_of(context.run)
    if first is None or last is None:
        return as_of - DAY, as_of
    return day_start(first), min(day_start(last) + DAY, as_of)
