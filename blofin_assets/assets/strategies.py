"""The strategy cycle: the library, its backtests on the exam window, the ranking.

Belongs here: the assets of the 48-hour cycle. Does not belong here: backtesting (`backtester`), the order of ranks
(`strategies.ranking`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester import Costs, Evaluation, evaluate
from blofin_assets.assets.common import cycle_as_of, lineage, require_market_data, stage_asset, table_preview
from blofin_assets.assets.evidence import evidence_rows
from blofin_assets.assets.features import ASSETS as FEATURE_ASSETS
from blofin_assets.assets.results import backtest_rows, equity_rows, pooled_of, trade_rows, trial_rows
from blofin_assets.partitions import day_start, two_days
from blofin_assets.predictions import feature_manager, predictions_for
from blofin_assets.reporting.plots import curve_names, equity_figure, markdown_png
from blofin_assets.trials import configuration, count_trials
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features.bars import TS, Timeframe
from features.market import Market
from strategies.base import Strategy
from strategies.duplicates import Positions, find_duplicate, positions
from strategies.ranking import StrategyRanker
from strategies.registry import load_library
from strategies.validation import validate

GROUP: Final = "strategies"
KIND: Final = "strategy"

EXAM: Final = timedelta(days=7)
"""The last days before a cycle's as-of, on which every strategy is run once."""

ACTIVE: Final = 20
"""How many strategies stay active, by rank alone."""

CUTS: Final = 4
"""Moments at which the future is taken away from a strategy, beside the telling ones."""

VALIDATION_DAYS: Final[dict[Timeframe, timedelta]] = {
    "1m": timedelta(days=3),
    "5m": timedelta(days=4),
    "60m": timedelta(days=30),
    "1d": timedelta(days=30),
}
"""History on which each version is validated, once."""

_JUDGED: Final = (
    "SELECT DISTINCT name, version, event FROM research.strategy_events "
    "WHERE event IN ('validated', 'refused') AND \"at\" <= ?"
)

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
    table="research.strategy_events",
    partitions=two_days,
    deps=[strategy_library],
    kinds=("polars", "duckdb"),
)
def strategy_validation(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Whether each version may be ranked: signals that do not change with the future, nor know prices by heart."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    require_market_data(store, market.symbols, as_of - EXAM, as_of)
    judged = verdicts(store, as_of)
    waiting = [strategy for strategy in load_library() if (strategy.name, strategy.version) not in judged]
    data = _validation_market(store, market.symbols, as_of, waiting) if waiting else None
    findings = {s.name: validate(s, data, cuts=CUTS, seed=market.seed) for s in waiting if data is not None}
    rows = pl.DataFrame(
        {
            "name": [s.name for s in waiting],
            "version": [s.version for s in waiting],
            "event": ["refused" if findings[s.name] else "validated" for s in waiting],
            "reason": ["; ".join(f"{f.check} on {f.timeframe}: {f.detail}" for f in findings[s.name]) for s in waiting],
        },
        schema_overrides=dict.fromkeys(("name", "version", "event", "reason"), pl.String),
    ).with_columns(pl.lit(as_of).cast(TS).alias("at"))
    with store.transaction(context.run.run_id) as tx:
        tx.append("research.strategy_events", rows, key=["name", "version", "event"])
    refused = {name: str(found[0]) for name, found in findings.items() if found}
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "refused": ", ".join(f"{name} ({reason})" for name, reason in refused.items()) or "none",
            "snapshot": tx.snapshot,
        }
    )


@stage_asset(
    group=GROUP,
    table="research.strategy_backtest_results",
    partitions=two_days,
    deps=[strategy_validation, *(lineage(asset, steps_back=STEPS_BACK) for asset in FEATURE_ASSETS)],
    kinds=("polars", "duckdb", "numba"),
)
def strategy_backtests(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Each sound strategy, run once on the seven days before the as-of, with all that stands beside its score."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    require_market_data(store, market.symbols, as_of - EXAM, as_of)
    snapshot, start = store.snapshot_id(), as_of - EXAM
    sound = validated(load_library(), verdicts(store, as_of))
    evaluations = evaluate(sound, feature_manager(store, as_of), market.symbols, start, as_of, costs=Costs())
    evaluations, copies = without_copies(evaluations)
    results = backtest_rows(evaluations, as_of, snapshot)
    trials = count_trials(store, KIND, start, as_of, {configuration(found, KIND) for found in evaluations})
    evidence = evidence_rows(evaluations, KIND, as_of, trials=trials, seed=market.seed)
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.strategy_backtest_results", results, as_of=as_of, ignore=["snapshot_id"])
        tx.replace("research.trades", trade_rows(evaluations, KIND, as_of), as_of=as_of, kind=KIND)
        tx.replace("research.equity", equity_rows(evaluations, KIND, as_of), as_of=as_of, kind=KIND)
        tx.append("research.trials", trial_rows(evaluations, KIND, "library", as_of, snapshot), key=["id"])
        tx.replace("research.evidence", evidence, as_of=as_of, kind=KIND)
        tx.replace("research.strategy_scores", _scores(results, as_of), as_of=as_of)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": results.height,
            "strategies": len(evaluations),
            "copies": ", ".join(f"{name} repeats {known}" for name, known in copies.items()) or "none",
            "trials": trials,
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
        tx.append("research.strategy_events", state_changes(store, rows, as_of))
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


ASSETS: Final = [strategy_library, strategy_validation, strategy_backtests, strategy_ranking]


def verdicts(store: Warehouse, as_of: datetime) -> dict[tuple[str, str], str]:
    """Return what validation found of each (name, version) up to an as-of: `validated` or `refused`."""
    return {(name, version): event for name, version, event in store.read(_JUDGED, [as_of]).iter_rows()}


def validated(library: Sequence[Strategy], judged: Mapping[tuple[str, str], str]) -> list[Strategy]:
    """Return the strategies that may be ranked.

    Raises
    ------
    BlofinError
        If one has not been judged: what was never validated is never ranked.
    """
    unjudged = [each.name for each in library if (each.name, each.version) not in judged]
    if unjudged:
        msg = f"{', '.join(unjudged)}: not validated yet; materialise strategy_validation of this cycle first"
        raise BlofinError(msg)
    return [each for each in library if judged[each.name, each.version] == "validated"]


def state_changes(store: Warehouse, ranking: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Return an event for each version that this cycle makes active or archives and that was not so before."""
    before = store.read(
        "SELECT name, version, event FROM research.strategy_events WHERE event IN ('active', 'archived') "
        'AND "at" < ? QUALIFY row_number() OVER (PARTITION BY name, version ORDER BY "at" DESC) = 1',
        [as_of],
    )
    now = ranking.select("name", "version", pl.col("status").alias("event"), "reason")
    changed = now.join(before, on=["name", "version", "event"], how="anti")
    return changed.with_columns(pl.lit(as_of).cast(TS).alias("at"))


def without_copies(evaluations: Sequence[Evaluation]) -> tuple[list[Evaluation], dict[str, str]]:
    """Return the evaluations whose positions are their own, and the name that each of the others repeats.

    The first by name stays. A strategy that never traded is no copy of another that did not.
    """
    kept: dict[str, Positions] = {}
    copies: dict[str, str] = {}
    for found in sorted(evaluations, key=lambda each: each.name):
        held = positions(found.trades, pooled_of(found).start, pooled_of(found).end)
        same = find_duplicate(held, kept) if held else None
        if same is None:
            kept[found.name] = held
        else:
            copies[found.name] = same[0]
    return [found for found in evaluations if found.name not in copies], copies


def _validation_market(
    store: Warehouse, symbols: Sequence[str], as_of: datetime, waiting: Sequence[Strategy]
) -> Market:
    """Return the days before the as-of on which strategies are held to the causality test."""
    longest = as_of - max(VALIDATION_DAYS.values())
    candles = {frame: store.candles(symbols, frame, as_of - days, as_of) for frame, days in VALIDATION_DAYS.items()}
    said = predictions_for(waiting, store, symbols, as_of, VALIDATION_DAYS)
    return Market(candles, store.funding(symbols, longest, as_of), said)


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
