"""The assets of market data: instruments, candles of every timeframe, funding, the ledger of gaps.

Belongs here: the assets of the market stage. Does not belong here: sources, planning fetches and storing
(`blofin_resources.market`), building higher timeframes (`backtester.resampling`).

A run of a plan fetches missing data. A partition that is materialised by hand is fetched again completely.
"""

from datetime import timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.resampling import aggregate
from blofin_assets.shared.asset import STEP_TAG, stage_asset, table_preview
from blofin_assets.shared.coverage import store_bars
from blofin_assets.shared.partitions import days
from blofin_assets.shared.windows import day_window
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.errors import MarketError
from blofin_resources.market.bases import longer_than, stored_by_base
from blofin_resources.market.ingestion import (
    Ingested,
    describe_instruments,
    invalidate_after_relisting,
    store_candles,
    store_funding,
    store_mark_prices,
    store_positioning,
    update_gap_ledger,
)
from blofin_resources.warehouse import Warehouse
from features.bars import CANDLE_SCHEMA, MINUTES, TIMEFRAMES, Timeframe

GROUP: Final = "market"

MINUTES_AT_ONCE: Final = 1_000_000
"""One-minute bars that are resampled at once."""

FRESH: Final = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=3), warn_window=timedelta(minutes=90))
"""Market data comes each hour; the UI warns after a missed hour."""


@stage_asset(group=GROUP, table="market.instruments")
def instruments(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Traded instruments and their terms: contract value, tick size, leverage, fees; one row per change."""
    store = warehouse.open()
    source, as_of = market.source(), clock.as_of(context.run)
    frame = describe_instruments(store, source, market.symbols, as_of)
    with store.transaction(context.run.run_id) as tx:
        invalidate_after_relisting(store, tx.replace, frame, as_of)
        tx.append("market.instruments", changed_terms(store, frame), key=["symbol", "as_of"])
    result = _result(frame, tx.snapshot)
    doubts = getattr(source, "warnings", ())
    for text in doubts:
        context.log.warning(text)
    return dg.MaterializeResult(metadata={**(result.metadata or {}), **({"warnings": list(doubts)} if doubts else {})})


def changed_terms(store: Warehouse, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the instruments whose terms differ from the last ones stored at or before the same as-of."""
    as_of = frame["as_of"].max()
    stored = store.read(
        "SELECT * EXCLUDE (run_id) FROM market.instruments WHERE as_of <= ? "
        "QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY as_of DESC) = 1",
        [as_of],
    )
    terms = [name for name in frame.columns if name != "as_of"]
    return frame.join(stored.select(terms), on=terms, how="anti", nulls_equal=True)


@stage_asset(group=GROUP, table="market.candles_1m", partitions=days, ranged=True, deps=[instruments], freshness=FRESH)
def candles_1m(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """One-minute candles as the source reports them: closed bars only, gaps kept, late revisions logged."""
    window = day_window(context, clock)
    taken = store_candles(
        warehouse.open(), market.source(), market.symbols, window.start, window.end,
        as_of=clock.as_of(context.run), run_id=context.run.run_id, force=STEP_TAG not in context.run.tags,
    )  # fmt: skip
    return fetch_result(taken)


@stage_asset(
    group=GROUP, table="market.funding_rates", partitions=days, ranged=True, deps=[instruments], freshness=FRESH
)
def funding_rates(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Funding payments at their actual times; positive means that longs pay."""
    window = day_window(context, clock)
    taken = store_funding(
        warehouse.open(), market.source(), market.symbols, window.start, window.end,
        as_of=clock.as_of(context.run), run_id=context.run.run_id, force=STEP_TAG not in context.run.tags,
    )  # fmt: skip
    return fetch_result(taken)


@stage_asset(group=GROUP, table="market.mark_candles_1m", partitions=days, ranged=True, deps=[candles_1m])
def mark_candles_1m(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """One-minute candles of the mark price, which decides liquidations; empty if the source has none.

    They are on by default and double the requests for candles: a page holds a day of one symbol, so the first fetch
    of three symbols and 45 days takes 27 seconds at five requests a second; afterwards it is one request per symbol
    and hour. Without short positions and leverage they can be turned off with BLOFIN_MARK_PRICES=off. No cycle waits
    for them: if they cannot be fetched, a run warns, the next one tries again, and last prices decide meanwhile.
    """  # noqa: DOC501 - the UI shows this text
    if not market.mark_prices:
        return dg.MaterializeResult(metadata={"fetched": 0, "off": "BLOFIN_MARK_PRICES is off"})
    window = day_window(context, clock)
    planned = STEP_TAG in context.run.tags
    try:
        taken = store_mark_prices(
            warehouse.open(), market.source(), market.symbols, window.start, window.end,
            as_of=clock.as_of(context.run), run_id=context.run.run_id, force=not planned,
        )  # fmt: skip
    except MarketError as error:
        if not planned:
            raise
        context.log.warning("mark prices are missing, so last prices decide on liquidations: %s", error)
        return dg.MaterializeResult(metadata={"lacking": str(error)})
    return fetch_result(taken)


@stage_asset(group=GROUP, table="market.positioning", partitions=days, ranged=True, deps=[candles_1m])
def positioning(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Open interest and ratios of longs to shorts at their actual times; empty if the source has none."""
    window = day_window(context, clock)
    taken = store_positioning(
        warehouse.open(), market.source(), market.symbols, window.start, window.end,
        as_of=clock.as_of(context.run), run_id=context.run.run_id, force=STEP_TAG not in context.run.tags,
    )  # fmt: skip
    return fetch_result(taken)


@stage_asset(group=GROUP, table="market.gaps", partitions=days, ranged=True, deps=[candles_1m])
def market_gaps(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Gaps in the candles: each with its cause, when it was found, and when the source filled it."""
    window = day_window(context, clock)
    ledger = update_gap_ledger(
        warehouse.open(), market.symbols, window.start, window.end,
        as_of=clock.as_of(context.run), run_id=context.run.run_id, source=market.source(),
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
        store, table = warehouse.open(), f"market.candles_{timeframe}"
        bases = stored_by_base(store, market.symbols)
        made = {base: group for base, group in bases.items() if timeframe in longer_than(base)}
        if not made:
            return dg.MaterializeResult(metadata={"dagster/row_count": 0, "base": ", ".join(bases)})
        count, frame, snapshot = 0, pl.DataFrame(schema=CANDLE_SCHEMA), None
        for base, group in made.items():
            for some, part in window.pieces(group, MINUTES["1d"], MINUTES_AT_ONCE):
                frame = aggregate(store.candles(some, base, part.start, part.end), timeframe, part.end)
                snapshot = store_bars(store, table, some, part, frame, timeframe, context.run.run_id)
                count += frame.height
        return _result(frame, snapshot, count)

    candles.__doc__ = f"{timeframe} candles resampled from one-minute candles; bars with missing minutes are flagged."
    return stage_asset(
        group=GROUP,
        table=f"market.candles_{timeframe}",
        partitions=days,
        ranged=True,
        deps=[candles_1m],
        name=f"candles_{timeframe}",
    )(candles)


CANDLES: Final[dict[Timeframe, dg.AssetsDefinition]] = {
    "1m": candles_1m, **{timeframe: _aggregated(timeframe) for timeframe in TIMEFRAMES[1:]}
}  # fmt: skip
CANDLE_ASSETS: Final = list(CANDLES.values())


def _result(frame: pl.DataFrame, snapshot: int | None, rows: int | None = None) -> dg.MaterializeResult[Any]:
    """Return what the UI shows of a table's rows, the last of which are in the frame."""
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": frame.height if rows is None else rows,
            "snapshot": snapshot,
            "preview": table_preview(frame.tail(5)),
        }
    )


def fetch_result(taken: Ingested) -> dg.MaterializeResult[Any]:
    """Return the metadata of a fetch; `fetched` counts all rows from the source, stored before or not."""
    passed_over = {"passed_over": "; ".join(taken.passed_over)} if taken.passed_over else {}
    return dg.MaterializeResult(
        metadata={"fetched": taken.rows, "revised_values": taken.revised, "snapshot": taken.snapshot, **passed_over}
    )
