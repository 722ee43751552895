"""Asset checks of stored features: finite, within bounds, rarely null after warm-up, equal to a recomputation.

Belongs here: turning findings into check results. Does not belong here: the findings (`features.quality`).
"""

from datetime import datetime
from typing import Final

import dagster as dg
import polars as pl

from blofin_assets.features.assets import FEATURES, ROWS_AT_ONCE, computed_features, rows_a_day
from blofin_assets.shared.asset import table_preview
from blofin_assets.shared.coverage import withdraw
from blofin_assets.shared.windows import run_window, whole_window
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.warehouse import Warehouse
from features import STANDARD_SET, warmup_bars
from features.bars import Timeframe, bar_length
from features.quality import merged, quality, violations

MOST_NULLS: Final = 0.2
"""Largest share of nulls after warm-up; gaps and flagged bars cause some."""


def _sound_features(asset: dg.AssetsDefinition, timeframe: Timeframe) -> dg.AssetChecksDefinition:
    table = f"features.features_{timeframe}"

    @dg.asset_check(
        asset=asset,
        name="sound_features",
        blocking=True,
        description="Finite, within bounds, and equal to a recomputation of the same day.",
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        warehouse: WarehouseResource,
        market: MarketResource,
        clock: ClockResource,
    ) -> dg.AssetCheckResult:
        start, end = run_window(context, clock)
        store, symbols = warehouse.open(), market.symbols
        warm = _warm_since(store, table, timeframe)
        parts, rows, changed = list[pl.DataFrame](), 0, set[str]()
        window = whole_window(start, end)
        for some, part in window.pieces(symbols, rows_a_day(timeframe), ROWS_AT_ONCE):
            stored = _read(store, table, some, part.start, part.end)
            rows += stored.height
            parts.append(quality(stored.filter(pl.col("ts") >= warm) if warm else stored.clear(), STANDARD_SET))
            if part.days[-1] == window.days[-1]:
                last_day = part.by_day()[-1]
                changed |= _changed(stored.filter(pl.col("ts") >= last_day[0]), store, some, timeframe, last_day)
        findings = merged(parts)
        broken = violations(findings, most_nulls=MOST_NULLS)
        # Nulls only warn: without quote volume, as in some archives and imported ticks, some features have no values.
        wrong = not violations(findings, most_nulls=1.0).is_empty()
        if wrong or changed:
            withdraw(store, f"features_{timeframe}", symbols, (start, end), context.run.run_id)
        return dg.AssetCheckResult(
            passed=broken.is_empty() and not changed,
            severity=dg.AssetCheckSeverity.ERROR if wrong or changed else dg.AssetCheckSeverity.WARN,
            description=f"differ from a recomputation: {_names(changed)}; invalid: {_listed(broken)}",
            metadata={
                "rows": rows,
                "share_of_nulls_after_warm_up": float(findings["nulls"].mean() or 0.0),  # type: ignore[arg-type]
                "not_as_computed_afresh": _names(changed),
                **({"broken": table_preview(broken)} if broken.height else {}),
            },
        )

    return check


def _names(changed: set[str]) -> str:
    return ", ".join(name for name in ("rows", *STANDARD_SET) if name in changed) or "none"


def _listed(broken: pl.DataFrame) -> str:
    return ", ".join(broken["name"]) or "none"


def _read(store: Warehouse, table: str, symbols: list[str], start: datetime, end: datetime) -> pl.DataFrame:
    query = f"SELECT * FROM {table} WHERE ts >= ? AND ts < ? AND symbol IN (SELECT unnest(?)) ORDER BY symbol, ts"  # noqa: S608 - constant table
    return store.read(query, [start, end, symbols])


def _warm_since(store: Warehouse, table: str, timeframe: Timeframe) -> datetime | None:
    """Return the time at which the warm-up of all features in the stored history has ended."""
    first: datetime | None = store.read(f"SELECT min(ts) AS ts FROM {table}")["ts"][0]  # noqa: S608 - constant table
    return None if first is None else first + warmup_bars(STANDARD_SET, timeframe) * bar_length(timeframe)


def _changed(
    stored: pl.DataFrame,
    store: Warehouse,
    symbols: list[str],
    timeframe: Timeframe,
    window: tuple[datetime, datetime],
) -> set[str]:
    """Return the features of a day whose stored values differ from a recomputation."""
    fresh = computed_features(store, symbols, timeframe, [window])
    both = stored.join(fresh, on=["symbol", "ts"], how="inner", suffix="_fresh")
    if both.height != fresh.height:
        return {"rows"}
    return {name for name in STANDARD_SET if not both[name].equals(both[f"{name}_fresh"].alias(name))}


FEATURE_CHECKS: Final = [_sound_features(asset, timeframe) for timeframe, asset in FEATURES.items()]
