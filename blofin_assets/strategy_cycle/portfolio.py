"""What a strategy cycle made active, held together.

Belongs here: the asset of the active set's equity and correlations. Does not belong here: ranking (`strategies`),
joining curves (`backtester.evaluation.portfolio`).
"""

from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.evaluation.portfolio import Portfolio, combine_equity
from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.shared.asset import stage_asset
from blofin_assets.shared.cadences import STRATEGY_CYCLE
from blofin_assets.shared.cycle_events import mark_done
from blofin_assets.shared.partitions import day_key, day_start, two_days
from blofin_assets.shared.plots import correlation_figure, equity_figure, markdown_png
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.knowledge import book_knowledge, strategy_knowledge
from blofin_assets.strategy_cycle.library import GROUP
from blofin_assets.strategy_cycle.ranking import strategy_ranking
from blofin_resources.dagster_resources import ClockResource, WarehouseResource
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.bars import TS

TOGETHER: Final = "all active"
"""Name of the combined curve in the picture."""


@stage_asset(
    group=GROUP,
    table="research.active_set",
    partitions=two_days,
    deps=[strategy_ranking, strategy_knowledge, book_knowledge],
)
def active_set(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """The active strategies at equal capital over the holdout: combined equity and correlation.

    It is the last asset of its cycle; its commit marks the cycle as done.
    """
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    curves = active_curves(store, as_of)
    labels = (pl.lit(as_of).cast(TS).alias("as_of"), pl.lit(Kind.STRATEGY).alias("kind"))
    equity, pairs, metadata = pl.DataFrame(), pl.DataFrame(), dict[str, Any]()
    if curves.height:
        held = combine_equity(curves, as_of - HOLDOUT_LENGTH)
        equity = held.equity.with_columns(*labels, pl.lit(len(held.names)).alias("members"))
        pairs = held.pairs.with_columns(labels)
        metadata = _shown(held)
    with store.transaction(context.run.run_id) as tx:
        for table, rows in (("research.active_set", equity), ("research.active_correlations", pairs)):
            columns = store.read(f"SELECT * EXCLUDE (run_id) FROM {table} LIMIT 0")  # noqa: S608 - constant names
            tx.replace(table, rows if rows.height else columns, as_of=as_of, kind=Kind.STRATEGY)
        mark_done(tx, STRATEGY_CYCLE, day_key(as_of), as_of)
    return dg.MaterializeResult(metadata={"dagster/row_count": equity.height, "snapshot": tx.snapshot, **metadata})


def active_curves(store: Warehouse, as_of: datetime) -> pl.DataFrame:
    """Return `name, ts, equity, with_bars` of what a cycle made active, hour by hour, in order of name and time."""
    return store.read(query("strategy_cycle/active_curves"), {"as_of": as_of})


def _shown(held: Portfolio) -> dict[str, Any]:
    """Return a portfolio's numbers, which the UI plots over partitions, and its pictures."""
    curve = held.equity.with_columns(pl.lit(TOGETHER).alias("name"))
    numbers = {
        "members": len(held.names),
        "total_pnl_pct": held.total_pnl_pct,
        "max_drawdown": held.max_drawdown,
        "sharpe": held.sharpe,
        "mean_correlation": held.mean_correlation,
    }
    return {
        **{name: value for name, value in numbers.items() if value is not None},
        "equity": dg.MetadataValue.md(markdown_png(equity_figure(curve, [TOGETHER]), "equity of the active set")),
        "correlations": dg.MetadataValue.md(
            markdown_png(correlation_figure(held.names, held.correlation), "correlations of hourly returns")
        ),
    }
