"""Market data: instruments, candles of every timeframe, funding.

Belongs here: the assets of the market stage. Does not belong here: sources (`blofin_resources.market`), building
higher timeframes (`backtester.aggregator`).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.aggregator import aggregate
from blofin_assets.assets.common import DayWindow, coverage_frame, day_window, stage_asset, table_preview
from blofin_assets.partitions import days
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.warehouse import Warehouse
from features.bars import Timeframe

GROUP: Final = "market"


@stage_asset(group=GROUP, table="market.instruments")
def instruments(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """What is traded and on which terms: contract value, tick size, leverage, fees; one row each time it changed."""
    as_of = clock.as_of(context.run)
    frame = market.source().instruments(market.symbols, as_of)
    store = warehouse.open()
    with store.transaction(context.run.run_id) as tx:
        tx.append("market.instruments", changed_terms(store, frame), key=["symbol", "as_of"])
    return _result(frame, tx.snapshot)


def changed_terms(store: Warehouse, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the instruments whose terms differ from the last ones stored at or before the same as-of."""
    as_of = frame["as_of"].max()
    known = store.read(
        "SELECT * EXCLUDE (run_id) FROM market.instruments WHERE as_of <= ? "
        "QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY as_of DESC) = 1",
        [as_of],
    )
    terms = [name for name in frame.columns if name != "as_of"]
    return frame.join(known.select(terms), on=terms, how="anti", nulls_equal=True)


@stage_asset(group=GROUP, table="market.candles_1m", partitions=days, deps=[instruments])
def candles_1m(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """One-minute candles as the source has them: closed bars only, gaps left as gaps."""
    window = day_window(context, clock)
    frame = market.source().candles_1m(market.symbols, window.start, window.end)
    return _store(warehouse.open(), "candles_1m", market.symbols, window, frame, context.run.run_id)


@stage_asset(group=GROUP, table="market.funding_rates", partitions=days, deps=[instruments])
def funding_rates(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Funding payments at their actual times; positive means that longs pay."""
    window = day_window(context, clock)
    source = market.source()
    paid = source.funding(market.symbols, window.start, window.end)
    frame = paid.with_columns(pl.lit(source.name).alias("origin"))
    # A payment at the very end counts as known at the as-of, so both neighbouring days write it, alike.
    end = window.end + timedelta(microseconds=1)
    return _store(warehouse.open(), "funding_rates", market.symbols, window, frame, context.run.run_id, end=end)


def _aggregated(timeframe: Timeframe) -> dg.AssetsDefinition:
    def candles(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
    ) -> dg.MaterializeResult[Any]:
        window = day_window(context, clock)
        store = warehouse.open()
        minutes = store.candles(market.symbols, "1m", window.start, window.end)
        frame = aggregate(minutes, timeframe, window.end)
        return _store(store, f"candles_{timeframe}", market.symbols, window, frame, context.run.run_id)

    candles.__doc__ = f"{timeframe} candles built from the one-minute ones; a bar that lacks minutes is flagged."
    return stage_asset(
        group=GROUP,
        table=f"market.candles_{timeframe}",
        partitions=days,
        deps=[candles_1m],
        name=f"candles_{timeframe}",
    )(candles)


candles_5m = _aggregated("5m")
candles_60m = _aggregated("60m")
candles_1d = _aggregated("1d")

ASSETS: Final = [instruments, candles_1m, candles_5m, candles_60m, candles_1d, funding_rates]


def _store(
    store: Warehouse,
    dataset: str,
    symbols: Sequence[str],
    window: DayWindow,
    frame: pl.DataFrame,
    run_id: str,
    end: datetime | None = None,
) -> dg.MaterializeResult[Any]:
    """Replace the window's rows and its coverage in one commit."""
    coverage = coverage_frame(dataset, symbols, window, frame)
    with store.transaction(run_id) as tx:
        tx.replace(f"market.{dataset}", frame, start=window.start, end=end or window.end, symbol=list(symbols))
        tx.replace("market.coverage", coverage, dataset=dataset, symbol=list(symbols), day=list(window.days))
    return _result(frame, tx.snapshot)


def _result(frame: pl.DataFrame, snapshot: int | None) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": frame.height,
            "snapshot": snapshot,
            "preview": table_preview(frame.tail(5)),
        }
    )
