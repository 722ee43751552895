"""Market data: instruments, candles of every timeframe, funding, the ledger of gaps.

Belongs here: the assets of the market stage. Does not belong here: sources, what to fetch and how it is stored
(`blofin_resources.market`), building higher timeframes (`backtester.aggregator`).

A run of a plan fetches what is lacking. A partition that somebody asks for by hand is fetched again, whole.
"""

from datetime import timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.aggregator import aggregate
from blofin_assets.assets.common import day_window, stage_asset, store_bars, table_preview
from blofin_assets.partitions import days
from blofin_assets.runner import STEP_TAG
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.errors import MarketError
from blofin_resources.market.intake import Taken, describe, keep_ledger, take_candles, take_funding, take_marks
from blofin_resources.warehouse import Warehouse
from features.bars import Timeframe

GROUP: Final = "market"

FRESH: Final = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=3), warn_window=timedelta(minutes=90))
"""Market data comes each hour; the UI warns after a missed hour."""


@stage_asset(group=GROUP, table="market.instruments")
def instruments(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """What is traded and on which terms: contract value, tick size, leverage, fees; one row each time it changed."""
    store = warehouse.open()
    frame = describe(store, market.source(), market.symbols, clock.as_of(context.run))
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


@stage_asset(group=GROUP, table="market.candles_1m", partitions=days, ranged=True, deps=[instruments], freshness=FRESH)
def candles_1m(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """One-minute candles as the source has them: closed bars only, gaps left as gaps, late revisions logged."""
    window = day_window(context, clock)
    taken = take_candles(
        warehouse.open(), market.source(), market.symbols, window.start, window.end,
        as_of=clock.as_of(context.run), run_id=context.run.run_id, afresh=STEP_TAG not in context.run.tags,
    )  # fmt: skip
    return _fetched(taken)


@stage_asset(
    group=GROUP, table="market.funding_rates", partitions=days, ranged=True, deps=[instruments], freshness=FRESH
)
def funding_rates(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Funding payments at their actual times; positive means that longs pay."""
    window = day_window(context, clock)
    taken = take_funding(
        warehouse.open(), market.source(), market.symbols, window.start, window.end,
        as_of=clock.as_of(context.run), run_id=context.run.run_id, afresh=STEP_TAG not in context.run.tags,
    )  # fmt: skip
    return _fetched(taken)


@stage_asset(group=GROUP, table="market.mark_candles_1m", partitions=days, ranged=True, deps=[candles_1m])
def mark_candles_1m(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """One-minute candles of the mark price, by which leveraged positions are liquidated; none where a source has none.

    On by default: a page holds a day of one symbol, so they double the pages of candles, which at five requests a
    second are 27 seconds once for three symbols and 45 days, and one request a symbol and hour afterwards. Whoever
    uses no leverage turns them off with BLOFIN_MARK_PRICES=off. No cycle waits for them: what a run of a plan cannot
    get is left out with a warning, tried again by the next one, and liquidations go by last prices meanwhile.
    """
    if not market.mark_prices:
        return dg.MaterializeResult(metadata={"fetched": 0, "off": "BLOFIN_MARK_PRICES is off"})
    window = day_window(context, clock)
    planned = STEP_TAG in context.run.tags
    try:
        taken = take_marks(
            warehouse.open(), market.source(), market.symbols, window.start, window.end,
            as_of=clock.as_of(context.run), run_id=context.run.run_id, afresh=not planned,
        )  # fmt: skip
    except MarketError as error:
        if not planned:
            raise
        context.log.warning("mark prices are lacking, liquidations go by last prices there: %s", error)
        return dg.MaterializeResult(metadata={"lacking": str(error)})
    return _fetched(taken)


@stage_asset(group=GROUP, table="market.gaps", partitions=days, ranged=True, deps=[candles_1m])
def market_gaps(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """The ledger of what is missing: each stretch with its cause, when it was found, and when the source filled it."""
    window = day_window(context, clock)
    ledger = keep_ledger(
        warehouse.open(), market.symbols, window.start, window.end,
        as_of=clock.as_of(context.run), run_id=context.run.run_id,
    )  # fmt: skip
    kinds = ledger.open.group_by("kind").agg(pl.col("bars").sum()).sort("kind")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": ledger.open.height,
            "missing_bars": ", ".join(f"{kind} {bars}" for kind, bars in kinds.iter_rows()) or "none",
            "snapshot": ledger.snapshot,
            "preview": table_preview(ledger.open.tail(10)),
        }
    )


def _aggregated(timeframe: Timeframe) -> dg.AssetsDefinition:
    def candles(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
    ) -> dg.MaterializeResult[Any]:
        window = day_window(context, clock)
        store = warehouse.open()
        minutes = store.candles(market.symbols, "1m", window.start, window.end)
        frame = aggregate(minutes, timeframe, window.end)
        table = f"market.candles_{timeframe}"
        return _result(frame, store_bars(store, table, market.symbols, window, frame, timeframe, context.run.run_id))

    candles.__doc__ = f"{timeframe} candles built from the one-minute ones; a bar that lacks minutes is flagged."
    return stage_asset(
        group=GROUP,
        table=f"market.candles_{timeframe}",
        partitions=days,
        ranged=True,
        deps=[candles_1m],
        name=f"candles_{timeframe}",
    )(candles)


candles_5m = _aggregated("5m")
candles_60m = _aggregated("60m")
candles_1d = _aggregated("1d")

ASSETS: Final = [
    instruments,
    candles_1m,
    candles_5m,
    candles_60m,
    candles_1d,
    funding_rates,
    mark_candles_1m,
    market_gaps,
]


def _result(frame: pl.DataFrame, snapshot: int | None) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": frame.height,
            "snapshot": snapshot,
            "preview": table_preview(frame.tail(5)),
        }
    )


def _fetched(taken: Taken) -> dg.MaterializeResult[Any]:
    """Return what the UI shows of a fetch: `fetched` counts what the source gave, stored before or not."""
    return dg.MaterializeResult(
        metadata={"fetched": taken.rows, "revised_values": taken.revised, "snapshot": taken.snapshot}
    )
