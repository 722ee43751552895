"""The assets of features: the standard set of the default timeframes, stored per day.

Belongs here: the feature assets. Does not belong here: computing features (`features`), and features of other
timeframes, which are computed from their candles when a strategy reads them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.market.assets import CANDLES, funding_rates
from blofin_assets.shared.asset import stage_asset
from blofin_assets.shared.candle_cache import CachedCandleSource
from blofin_assets.shared.coverage import store_bars
from blofin_assets.shared.partitions import days
from blofin_assets.shared.windows import day_window
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.warehouse.description import Column
from features import STANDARD_SET, FeatureManager, definitions_hash, standard_registry
from features.bars import DEFAULT_TIMEFRAMES, MINUTES, CandleSource, Timeframe

GROUP: Final = "features"

ROWS_AT_ONCE: Final = 100_000
"""Rows that are computed and stored at once: they take some 0.1 GB, and several times that in the making."""


def feature_columns() -> list[Column]:
    """Return the feature columns of a table with their descriptions from the registry."""
    registry = standard_registry()
    definitions = {name: registry.feature(name).definition for name in STANDARD_SET}
    return [
        Column(name, "DOUBLE", f"{definition.description} [{definition.unit}]")
        for name, definition in definitions.items()
    ]


def computed_features(
    source: CandleSource, symbols: list[str], timeframe: Timeframe, days: Sequence[tuple[datetime, datetime]]
) -> pl.DataFrame:
    """Compute the standard features of some days in stored form.

    Days are computed one by one, because the last bits of a rolling sum depend on where its warm-up began: a day must
    give the same values alone and in a range. No look-ahead: no data after the end of a day is read for it.

    Parameters
    ----------
    source : CandleSource
        Where candles are read.
    symbols : list of str
        Symbols to compute.
    timeframe : Timeframe
        Length of the bars.
    days : sequence of (datetime, datetime)
        Start and end of each day (UTC).

    Returns
    -------
    DataFrame
        `symbol`, `ts`, a Float64 column per feature, and `definitions_hash`.
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


def rows_a_day(timeframe: Timeframe) -> int:
    """Return the bars of one symbol and day."""
    return MINUTES["1d"] // MINUTES[timeframe]


def _features(timeframe: Timeframe, candles: dg.AssetsDefinition) -> dg.AssetsDefinition:
    table = f"features.features_{timeframe}"

    def features(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
    ) -> dg.MaterializeResult[Any]:
        window = day_window(context, clock)
        store, symbols = warehouse.open(), market.symbols
        store.ensure_features_table(timeframe, {column.name: column.comment for column in feature_columns()})
        count, nulls, snapshot = 0, 0.0, None
        for some, part in window.pieces(symbols, rows_a_day(timeframe), ROWS_AT_ONCE):
            source = CachedCandleSource(store, part.end, recorded=True)
            frame = computed_features(source, some, timeframe, part.by_day())
            snapshot = store_bars(store, table, some, part, frame, timeframe, context.run.run_id)
            share = frame.select(pl.mean_horizontal(pl.col(name).is_null().mean() for name in STANDARD_SET)).item()
            count, nulls = count + frame.height, nulls + frame.height * (share or 0.0)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": count,
                "snapshot": snapshot,
                "features": len(STANDARD_SET),
                "share_of_nulls": nulls / count if count else 0.0,
            }
        )

    features.__doc__ = f"Standard features on {timeframe} bars, warmed up on earlier days and tested for look-ahead."
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


FEATURES: Final = {timeframe: _features(timeframe, CANDLES[timeframe]) for timeframe in DEFAULT_TIMEFRAMES}
FEATURE_ASSETS: Final = list(FEATURES.values())
