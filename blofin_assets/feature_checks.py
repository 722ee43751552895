"""Asset checks of stored features: finite, in their ranges, seldom null after warm-up, equal to a fresh computation.

Belongs here: turning the judgement of features into check results. Does not belong here: the judgement
(`features.quality`).
"""

from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.assets.common import table_preview, withdraw
from blofin_assets.assets.features import computed_features, features_1m, features_5m, features_60m
from blofin_assets.checks import run_window
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.warehouse import Warehouse
from features import STANDARD_SET, warmup_bars
from features.bars import Timeframe, bar_length
from features.quality import quality, violations

MOST_NULLS: Final = 0.2
"""Share of nulls after warm-up above which a feature is called broken; gaps and flagged bars make a few."""


def _sound_features(asset: dg.AssetsDefinition, timeframe: Timeframe) -> dg.AssetChecksDefinition:
    table = f"features.features_{timeframe}"

    @dg.asset_check(
        asset=asset,
        name="sound_features",
        blocking=True,
        description="Finite, in their stated ranges, and equal to the same day computed afresh.",
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        warehouse: WarehouseResource,
        market: MarketResource,
        clock: ClockResource,
    ) -> dg.AssetCheckResult:
        start, end = run_window(context, clock)
        store, symbols = warehouse.open(), market.symbols
        stored = _read(store, table, symbols, start, end)
        warm = _warm_since(store, table, timeframe)
        seen = quality(stored.filter(pl.col("ts") >= warm) if warm else stored.clear(), STANDARD_SET)
        broken = violations(seen, most_nulls=MOST_NULLS)
        # Nulls only warn: an archive without quote volume, or imported ticks, have features that cannot be known.
        wrong = not violations(seen, most_nulls=1.0).is_empty()
        last_day = max(start, (end - timedelta(microseconds=1)).replace(hour=0, minute=0, second=0, microsecond=0))
        changed = _changed(stored.filter(pl.col("ts") >= last_day), store, symbols, timeframe, (last_day, end))
        if wrong or changed:
            withdraw(store, f"features_{timeframe}", symbols, (start, end), context.run.run_id)
        return dg.AssetCheckResult(
            passed=broken.is_empty() and not changed,
            severity=dg.AssetCheckSeverity.ERROR if wrong or changed else dg.AssetCheckSeverity.WARN,
            description=f"not as computed afresh: {', '.join(changed) or 'none'}; broken: {_listed(broken)}",
            metadata={
                "rows": stored.height,
                "share_of_nulls_after_warm_up": float(seen["nulls"].mean() or 0.0),  # type: ignore[arg-type]
                "not_as_computed_afresh": ", ".join(changed) or "none",
                **({"broken": table_preview(broken)} if broken.height else {}),
            },
        )

    return check


def _listed(broken: pl.DataFrame) -> str:
    return ", ".join(broken["name"]) or "none"


def _read(store: Warehouse, table: str, symbols: list[str], start: datetime, end: datetime) -> pl.DataFrame:
    query = f"SELECT * FROM {table} WHERE ts >= ? AND ts < ? AND symbol IN (SELECT unnest(?)) ORDER BY symbol, ts"  # noqa: S608 - constant table
    return store.read(query, [start, end, symbols])


def _warm_since(store: Warehouse, table: str, timeframe: Timeframe) -> datetime | None:
    """Return the time from which every feature has had its warm-up in the stored history."""
    first: datetime | None = store.read(f"SELECT min(ts) AS ts FROM {table}")["ts"][0]  # noqa: S608 - constant table
    return None if first is None else first + warmup_bars(STANDARD_SET, timeframe) * bar_length(timeframe)


def _changed(
    stored: pl.DataFrame,
    store: Warehouse,
    symbols: list[str],
    timeframe: Timeframe,
    window: tuple[datetime, datetime],
) -> list[str]:
    """Return the features of a day whose stored values are not those computed now."""
    fresh = computed_features(store, symbols, timeframe, [window])
    both = stored.join(fresh, on=["symbol", "ts"], how="inner", suffix="_fresh")
    if both.height != fresh.height:
        return ["rows"]
    return [name for name in STANDARD_SET if not both[name].equals(both[f"{name}_fresh"].alias(name))]


FEATURE_CHECKS: Final[list[Any]] = [
    _sound_features(features_1m, "1m"),
    _sound_features(features_5m, "5m"),
    _sound_features(features_60m, "60m"),
]
