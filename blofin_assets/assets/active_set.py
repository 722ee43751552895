"""What a strategy cycle made active, held together.

Belongs here: the asset of the active set's equity and correlations. Does not belong here: ranking (`strategies`),
joining curves (`backtester.portfolio`).
"""

from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.portfolio import Portfolio, combine_equity
from blofin_assets.assets.common import cycle_as_of, stage_asset
from blofin_assets.assets.library import EXAM, GROUP, KIND
from blofin_assets.assets.strategies import strategy_knowledge, strategy_ranking
from blofin_assets.partitions import day_key, day_start, two_days
from blofin_assets.plan import STRATEGY_CYCLE
from blofin_assets.progress import say_done
from blofin_assets.reporting.plots import correlation_figure, equity_figure, markdown_png
from blofin_resources.dagster_resources import ClockResource, WarehouseResource
from features.bars import TS

TOGETHER: Final = "all active"
"""Name of the combined curve in the picture."""

_CURVES: Final = (
    # two versions of one strategy can both be active: then each is named with its version
    "SELECT CASE WHEN count(DISTINCT version) OVER (PARTITION BY name) > 1 THEN name || ' ' || version ELSE name END "
    "AS name, equity.ts, equity.equity FROM research.equity AS equity "
    "JOIN research.ranking_history AS ranked USING (as_of, kind, name, version) "
    "WHERE ranked.as_of = ? AND ranked.kind = ? AND ranked.status = 'active' ORDER BY ALL"
)


@stage_asset(group=GROUP, table="research.active_set", partitions=two_days, deps=[strategy_ranking, strategy_knowledge])
def active_set(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """The active strategies at equal capital over the exam: combined equity, and how far they are one bet.

    The last of its cycle, after the knowledge that it does not read: its commit says that the cycle is done.
    """
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    curves = store.read(_CURVES, [as_of, KIND])
    labels = (pl.lit(as_of).cast(TS).alias("as_of"), pl.lit(KIND).alias("kind"))
    equity, pairs, metadata = pl.DataFrame(), pl.DataFrame(), dict[str, Any]()
    if curves.height:
        held = combine_equity(curves, as_of - EXAM)
        equity = held.equity.with_columns(*labels, pl.lit(len(held.names)).alias("members"))
        pairs = held.pairs.with_columns(labels)
        metadata = _shown(held)
    with store.transaction(context.run.run_id) as tx:
        for table, rows in (("research.active_set", equity), ("research.active_correlations", pairs)):
            columns = store.read(f"SELECT * EXCLUDE (run_id) FROM {table} LIMIT 0")  # noqa: S608 - constant names
            tx.replace(table, rows if rows.height else columns, as_of=as_of, kind=KIND)
        say_done(tx, STRATEGY_CYCLE, day_key(as_of), as_of)
    return dg.MaterializeResult(metadata={"dagster/row_count": equity.height, "snapshot": tx.snapshot, **metadata})


ASSETS: Final = [active_set]


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
