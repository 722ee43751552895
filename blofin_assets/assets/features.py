"""Features: the standard set of each timeframe, stored per day.

Belongs here: the three feature assets. Does not belong here: what a feature is (`features`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.assets.common import day_window, stage_asset, store_bars
from blofin_assets.assets.market import candles_1m, candles_5m, candles_60m, funding_rates
from blofin_assets.partitions import days
from blofin_assets.sources import RememberedSource
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.warehouse.description import Column
from features import STANDARD_SET, FeatureManager, definitions_hash, standard_registry
from features.bars import CandleSource, Timeframe

GROUP: Final = "features"


def feature_columns() -> list[Column]:
    """Return the columns of a feature table that hold features, as the registry describes them."""
    registry = standard_registry()
    found = {name: registry.feature(name).definition for name in STANDARD_SET}
    return [Column(name, "DOUBLE", f"{each.description} [{each.unit}]") for name, each in found.items()]


def computed_features(
    source: CandleSource, symbols: list[str], timeframe: Timeframe, days: Sequence[tuple[datetime, datetime]]
) -> pl.DataFrame:
    """Return the standard set for the bars of some days as the warehouse stores it: Float64 columns and their hash.

    Day by day: a rolling sum's last bits depend on where its warm-up began, and a day must come out the same whether it
    is made alone or in a range. No look-ahead: nothing after a day's end is read for it.
    """
    computed = pl.concat(
        FeatureManager(source, as_of=end).window(symbols, timeframe, list(STANDARD_SET), start, end)
        for start, end in days
    )
    return computed.select(
        "symbol",
        "ts",
        *(pl.col(name).cast(pl.Float64) for name in STANDARD_SET),
        pl.lit(definitions_hash()).alias("definitions_hash"),
    )


def _features(timeframe: Timeframe, candles: dg.AssetsDefinition) -> dg.AssetsDefinition:
    table = f"features.features_{timeframe}"

    def features(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
    ) -> dg.MaterializeResult[Any]:
        window = day_window(context, clock)
        store, symbols = warehouse.open(), market.symbols
        store.ensure_features_table(timeframe, {column.name: column.comment for column in feature_columns()})
        source = RememberedSource(store, window.end)
        frame = computed_features(source, symbols, timeframe, window.by_day())
        snapshot = store_bars(store, table, symbols, window, frame, timeframe, context.run.run_id)
        nulls = frame.select(pl.mean_horizontal(pl.col(name).is_null().mean() for name in STANDARD_SET)).item()
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": frame.height,
                "snapshot": snapshot,
                "features": len(STANDARD_SET),
                "share_of_nulls": float(nulls or 0.0),
            }
        )

    features.__doc__ = (
        f"The standard set of features on {timeframe} bars, with warm-up taken from earlier days; causal by test."
    )
    return stage_asset(
        group=GROUP,
        table=table,
        partitions=days,
        ranged=True,
        deps=[candles, funding_rates],
        code_version=definitions_hash(),
        columns=feature_columns(),
        name=f"features_{timeframe}",
    )(features)


features_1m = _features("1m", candles_1m)
features_5m = _features("5m", candles_5m)
features_60m = _features("60m", candles_60m)

ASSETS: Final = [features_1m, features_5m, features_60m]
