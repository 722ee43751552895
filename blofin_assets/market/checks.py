"""Asset checks of stored market data.

Belongs here: turning violations into check results. Does not belong here: finding them
(`blofin_resources.market.checks`, `Warehouse.integrity`).

Checks are unpartitioned: they read every day of the run's range and list failing days in their metadata. A check blocks
if later stages would compute from wrong bars; it warns if the cause may be the market itself.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.market.assets import CANDLES, candles_1m
from blofin_assets.shared.asset import table_preview
from blofin_assets.shared.coverage import withdraw
from blofin_assets.shared.windows import run_window
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.market import checks
from blofin_resources.market.bases import longer_than, stored_by_base
from blofin_resources.market.ingestion import delisted_at
from features.bars import Timeframe, bar_length, floor_time

MAX_STALENESS: Final = timedelta(minutes=15)
"""Largest time between the last close of a partition and the end of its day, or the as-of."""


def _sound_candles(asset: dg.AssetsDefinition, timeframe: Timeframe) -> dg.AssetChecksDefinition:
    resampled = "" if timeframe == "1m" else "; equal to a resampling of the 1-minute bars"

    @dg.asset_check(
        asset=asset,
        name="sound_candles",
        blocking=True,
        description=f"OHLC order, positive prices, duplicates, time order, grid, minutes inside{resampled}.",
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
        violations = checks.unsound(candles, timeframe)
        whole = floor_time(end, bar_length(timeframe))
        differing = [
            checks.agreement(
                store.candles(group, base, start, whole), candles.filter(pl.col("symbol").is_in(group)), timeframe
            )
            for base, group in stored_by_base(store, symbols).items()
            if timeframe in longer_than(base) and whole > start
        ]
        if differing:
            violations["agreement"] = pl.concat(differing)
        if any(rows.height for rows in violations.values()):
            withdraw(store, f"candles_{timeframe}", symbols, (start, end), context.run.run_id)
        return check_result(violations, dg.AssetCheckSeverity.ERROR, {"bars": candles.height})

    return check


@dg.asset_check(
    asset=candles_1m,
    name="complete_and_fresh",
    description=(
        "Closed days are complete; no bar is an isolated outlier; the last bar of each partition "
        f"closed at most {MAX_STALENESS} before its end or the as-of. Missing bars are listed in market.gaps."
    ),
)
def complete_and_fresh(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.AssetCheckResult:
    """Warn of missing bars, isolated outliers and partitions that end early."""
    start, end = run_window(context, clock)
    store, symbols = warehouse.open(), market.symbols
    groups = stored_by_base(store, symbols)
    bases = {symbol: base for base, group in groups.items() for symbol in group}
    candles = pl.concat(store.candles(group, base, start, end) for base, group in groups.items())
    over = delisted_at(store, symbols, end)
    until = {symbol: floor_time(min(end, over.get(symbol, end)), bar_length(bases[symbol])) for symbol in symbols}
    violations = {
        "incomplete_days": pl.concat(
            checks.incomplete_days(candles, bases[symbol], start, until[symbol], [symbol])
            for symbol in symbols
            if until[symbol] > start or over.get(symbol, end) > start
        ),
        "jumps": checks.jumps(candles),
        "staleness": pl.concat(
            checks.stale_days(candles, [symbol], start, until[symbol], MAX_STALENESS) for symbol in symbols
        ),
    }
    newest = candles.select((pl.col("ts") + pl.duration(minutes="minutes")).max()).item()
    behind = (end - newest).total_seconds() / 60 if isinstance(newest, datetime) else None
    return check_result(
        violations, dg.AssetCheckSeverity.WARN, {"bars": candles.height, "minutes_behind_as_of": behind}
    )


CANDLE_CHECKS: Final = [_sound_candles(asset, timeframe) for timeframe, asset in CANDLES.items()]


def check_result(
    violations: Mapping[str, pl.DataFrame], severity: dg.AssetCheckSeverity, metadata: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """Return the result of a check from its violations, with a table of the first ones.

    Parameters
    ----------
    violations : dict of str to DataFrame
        `VIOLATION_SCHEMA` by name of the check; an empty frame passed.
    severity : AssetCheckSeverity
        What a violation means.
    metadata : dict of str to Any
        Further values for the UI.

    Returns
    -------
    AssetCheckResult
        Passed where no frame has rows.
    """
    wrong = [rows.with_columns(pl.lit(name).alias("check")) for name, rows in violations.items() if rows.height]
    days = pl.concat(wrong)["ts"].dt.date().unique().sort().to_list() if wrong else []
    return dg.AssetCheckResult(
        passed=not wrong,
        severity=severity,
        description=_one_line(wrong) if wrong else None,
        metadata={
            **metadata,
            "violations": sum(rows.height for rows in wrong),
            "failing_days": ", ".join(str(day) for day in days) or "none",
            **({"first_violations": table_preview(pl.concat(wrong))} if wrong else {}),
        },
    )


def _one_line(wrong: list[pl.DataFrame]) -> str:
    """Describe the first violation of each kind."""
    first = [(rows.height, *rows.select("check", "symbol", "ts", "detail").row(0)) for rows in wrong]
    return "; ".join(
        f"{check}: {count} bars, first {symbol} {ts:%Y-%m-%dT%H:%MZ}: {detail}"
        for count, check, symbol, ts, detail in first
    )
