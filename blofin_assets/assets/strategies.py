"""The strategy cycle: the library, its backtests on the exam window, the ranking.

Belongs here: the assets of the 48-hour cycle. Does not belong here: backtesting (`backtester`), the order of ranks
(`strategies.ranking`).
"""

from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester import Costs, evaluate
from blofin_assets.assets.common import cycle_as_of, lineage, require_market_data, stage_asset, table_preview
from blofin_assets.assets.features import ASSETS as FEATURE_ASSETS
from blofin_assets.assets.results import backtest_rows, equity_rows, pooled_of, trade_rows, trial_rows
from blofin_assets.partitions import day_start, two_days
from blofin_assets.reporting.plots import curve_names, equity_figure, markdown_png
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from features import FeatureManager
from strategies.ranking import StrategyRanker
from strategies.registry import load_library

GROUP: Final = "strategies"
KIND: Final = "strategy"

EXAM: Final = timedelta(days=7)
"""The last days before a cycle's as-of, on which every strategy is run once."""

ACTIVE: Final = 20
"""How many strategies stay active, by rank alone."""

STEPS_BACK: Final = 4
"""The exam's seven days, in steps of the 48-hour grid, rounded up."""


@stage_asset(group=GROUP, table="research.strategies", partitions=two_days)
def strategy_library(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Every strategy that has code, one row a version: the row is made from the code, so that there are no ghosts."""
    as_of = cycle_as_of(context, clock, day_start)
    found = load_library()
    rows = pl.DataFrame(
        {
            "name": [strategy.name for strategy in found],
            "version": [strategy.version for strategy in found],
            "source": ["library"] * len(found),
            "author": ["library"] * len(found),
            "code": [strategy.source() for strategy in found],
        }
    )
    events = rows.select("name", "version", pl.lit("candidate").alias("event"))
    with warehouse.open().transaction(context.run.run_id) as tx:
        tx.append("research.strategies", rows.with_columns(pl.lit(as_of).alias("created_at")), key=["name", "version"])
        tx.append(
            "research.strategy_events",
            events.with_columns(pl.lit(as_of).alias("at")),
            key=["name", "version", "event"],
        )
    return dg.MaterializeResult(
        metadata={"dagster/row_count": rows.height, "as_of": as_of.isoformat(), "snapshot": tx.snapshot}
    )


@stage_asset(
    group=GROUP,
    table="research.strategy_backtest_results",
    partitions=two_days,
    deps=[strategy_library, *(lineage(asset, steps_back=STEPS_BACK) for asset in FEATURE_ASSETS)],
    kinds=("polars", "duckdb", "numba"),
)
def strategy_backtests(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Each strategy, run once on the seven days before the as-of: pooled and by lane, with fees, slippage, funding."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    require_market_data(store, market.symbols, as_of - EXAM, as_of)
    snapshot = store.snapshot_id()
    evaluations = evaluate(
        load_library(), FeatureManager(store, as_of=as_of), market.symbols, as_of - EXAM, as_of, costs=Costs()
    )
    results = backtest_rows(evaluations, as_of, snapshot)
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.strategy_backtest_results", results, as_of=as_of, ignore=["snapshot_id"])
        tx.replace("research.trades", trade_rows(evaluations, KIND, as_of), as_of=as_of, kind=KIND)
        tx.replace("research.equity", equity_rows(evaluations, KIND, as_of), as_of=as_of, kind=KIND)
        tx.append("research.trials", trial_rows(evaluations, KIND, "library", as_of, snapshot), key=["id"])
        tx.replace("research.strategy_scores", _scores(results, as_of), as_of=as_of)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": results.height,
            "strategies": len(evaluations),
            "trades": sum(pooled_of(found).trades for found in evaluations),
            "snapshot": tx.snapshot,
        }
    )


@stage_asset(group=GROUP, table="research.ranking_history", partitions=two_days, deps=[strategy_backtests])
def strategy_ranking(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """The strategies by score, without thresholds: the best twenty stay active, the last fifth is to be replaced."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    scores = store.read(
        "SELECT strategy_name AS name, version, score, total_trades, total_pnl_pct, sharpe, sharpe_se, win_rate "
        "FROM research.strategy_backtest_results WHERE as_of = ? AND symbol = '*' ORDER BY name",
        [as_of],
    )
    ranker = StrategyRanker(scores)
    top, last = ranker.get_top_strategies(ACTIVE), ranker.get_to_replace()
    rows = ranker.table.select(
        pl.lit(as_of).alias("as_of"),
        pl.lit(KIND).alias("kind"),
        "rank",
        "name",
        "version",
        "score",
        pl.col("total_trades").alias("trades"),
        pl.when(pl.col("name").is_in(top)).then(pl.lit("active")).otherwise(pl.lit("archived")).alias("status"),
        pl.when(pl.col("name").is_in(last)).then(pl.lit("in the last fifth: to be replaced")).alias("reason"),
    )
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.ranking_history", rows, as_of=as_of, kind=KIND)
    equity = store.read("SELECT name, ts, equity FROM research.equity WHERE kind = ? AND as_of = ?", [KIND, as_of])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "ranking": table_preview(ranker.table),
            "equity": dg.MetadataValue.md(
                markdown_png(equity_figure(equity, curve_names(equity, rows, 5)), "equity of the top five")
            ),
            "snapshot": tx.snapshot,
            **_best(ranker.table),
        }
    )


ASSETS: Final = [strategy_library, strategy_backtests, strategy_ranking]


def _scores(results: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Return `research.strategy_scores` as the older system kept them: one row a strategy and symbol over 7 days."""
    pooled = results.filter(pl.col("symbol") == "*")
    wins = (pl.col("win_rate").fill_null(0.0) * pl.col("total_trades")).round().cast(pl.Int32)
    return pooled.select(
        pl.lit(as_of).alias("timestamp"),
        pl.col("strategy_name").alias("strategy"),
        "symbol",
        pl.lit("7d").alias("window"),
        pl.col("total_trades").alias("trades"),
        wins.alias("wins"),
        (pl.col("total_trades") - wins).alias("losses"),
        "win_rate",
        "avg_pnl_pct",
        "total_pnl_pct",
        pl.col("sharpe").alias("sharpe_ratio"),
        (pl.col("max_drawdown") * 100).alias("max_drawdown_pct"),
        "score",
        pl.lit(value=True).alias("enabled"),
        pl.lit(as_of).alias("as_of"),
    )


def _best(table: pl.DataFrame) -> dict[str, Any]:
    """Return the first one's numbers, which the UI plots over partitions."""
    if table.is_empty():
        return {}
    first = table.row(0, named=True)
    numbers = {"best_score": first["score"], "best_sharpe": first["sharpe"], "best_trades": first["total_trades"]}
    return {name: value for name, value in numbers.items() if value is not None}
