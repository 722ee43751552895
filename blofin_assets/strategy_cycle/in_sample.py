"""The asset of in-sample scores.

Belongs here: scoring the incumbents in the search window. Does not belong here: tuning (`tuning`), the holdout
(`evaluation`).
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.evaluation.ranking import ranked
from backtester.statistics.e_process import Days, days_of
from backtester.statistics.windows import SEARCH_REACH, Window
from blofin_assets.features.assets import FEATURE_ASSETS
from blofin_assets.shared.asset import lineage, stage_asset, table_preview
from blofin_assets.shared.coverage import require_market_data
from blofin_assets.shared.fence import each_alone
from blofin_assets.shared.partitions import TWO_DAYS, day_start, two_days
from blofin_assets.shared.vocabulary import Author, LifecycleState, Source
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.library import GROUP, strategy_validation, validated, verdicts
from blofin_assets.strategy_cycle.population import StrategyRecord, load_population, one_of_each_name
from blofin_assets.strategy_cycle.proposals import (
    TrialRow,
    search_trial_rows,
)
from blofin_assets.strategy_cycle.search_window import HoldingWindows, panel_of, windows_of
from blofin_resources.dagster_resources import (
    ClockResource,
    MarketResource,
    WarehouseResource,
)
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from strategies.language.strategy import Strategy
from strategies.search.objective import Scored, evaluate_objective
from strategies.search.panel import Panel

STEPS_BACK: Final = -(-SEARCH_REACH // TWO_DAYS)
"""From the start of the search window to the as-of, in steps of the 48-hour grid, rounded up."""

SEARCH_NAMES: Final = "search_"
"""Beginning of the names of search windows in tables."""

_OUT: Final = frozenset({LifecycleState.ARCHIVED, LifecycleState.REFUSED})


@stage_asset(
    group=GROUP,
    table="research.strategy_scores",
    partitions=two_days,
    deps=[strategy_validation, *(lineage(asset, steps_back=STEPS_BACK) for asset in FEATURE_ASSETS)],
    kinds=("polars", "duckdb", "numba"),
)
def strategy_scores(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """In-sample scores of all strategies; the bottom 20 % are tuned or replaced."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    windows = windows_of(store, market.symbols, as_of)
    if windows.short.search is None:
        return dg.MaterializeResult(metadata={"dagster/row_count": 0, "search_window": windows.short.reason})
    played = [record.strategy for record in incumbents(store, windows)]
    searches = [own.search for own in (windows.of(strategy.timeframes) for strategy in played) if own.search]
    require_market_data(store, market.symbols, min((each.start for each in searches), default=as_of), as_of)
    snapshot = store.snapshot_id()
    judged, failed = _judged(partial(panel_of, store, market.symbols, windows, run_id=context.run.run_id), played)
    with store.transaction(context.run.run_id) as tx:
        tx.replace(
            "research.strategy_scores",
            pl.concat([_score_rows([scored], as_of, window) for scored, window in judged]),
            as_of=as_of,
            window=sorted({window_name(window) for _, window in judged}),
        )
        tries = [TrialRow.of(scored, window) for scored, window in judged]
        tx.append("research.trials", search_trial_rows(tries, Author.LIBRARY, as_of, snapshot), key=["id"])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(judged),
            "search_window": "; ".join(
                f"{each.start:%Y-%m-%d %H:%M} to {each.end:%Y-%m-%d %H:%M} UTC" for each in dict.fromkeys(searches)
            ),
            "ranking": table_preview(_table([scored for scored, _ in judged])),
            "failed": "; ".join(f"{name}: {why}" for name, why in failed.items()) or "none",
            "snapshot": tx.snapshot,
        }
    )


def incumbents(store: Warehouse, windows: HoldingWindows) -> list[StrategyRecord]:
    """Return the strategies that are scored in a search window: those not archived when their holdout starts.

    Each name appears once: the version that was deployed then, else the library's. A proposal that missed the final
    was never validated and is no incumbent.
    """
    judged = verdicts(store, windows.short.as_of)
    before = (
        record
        for own in (windows.short, windows.long)
        for record in load_population(store, own.holdout.start)
        if windows.of(record.strategy.timeframes) is own
    )
    records = one_of_each_name(
        record
        for record in before
        if record.state not in _OUT
        and judged.get(record.key) != LifecycleState.REFUSED
        and (record.source == Source.LIBRARY or record.key in judged)
    )
    allowed = {(record.name, record.version) for record in validated([record.strategy for record in records], judged)}
    return [record for record in records if record.key in allowed]


def _judged(
    panel: Callable[[Strategy], Panel], strategies: Sequence[Strategy]
) -> tuple[list[tuple[Scored, Window]], dict[str, str]]:
    """Score strategies, each in its search window; return results and windows, and by name the errors of the others.

    Raises
    ------
    BlofinError
        If all failed.
    """

    def scored_in(strategy: Strategy) -> tuple[Scored, Window]:
        own = panel(strategy)
        return evaluate_objective(own, strategy), own.window

    scored = each_alone(strategies, scored_in)
    failed = {strategy.name: reason for strategy, reason in scored.failed}
    if not scored.done:
        msg = f"no strategy could be run on the search window: {'; '.join(failed.values()) or 'there is none'}"
        raise BlofinError(msg)
    return [judged for _, judged in scored.done], failed


def window_name(window: Window) -> str:
    """Return the name of a search window; scores on the holdout have another, and share all other key columns."""
    return f"{SEARCH_NAMES}{window.length.days}d"


def _table(judged: Sequence[Scored]) -> pl.DataFrame:
    rows = [
        {
            "name": scored.strategy.name,
            "version": scored.strategy.version,
            "score": scored.pooled.score,
            "total_trades": scored.pooled.trades,
            "objective": scored.objective,
            "sharpe": scored.pooled.sharpe,
        }
        for scored in judged
    ]
    schema = {
        "name": pl.String,
        "version": pl.String,
        "score": pl.Float64,
        "total_trades": pl.Int64,
        "objective": pl.Float64,
        "sharpe": pl.Float64,
    }
    return ranked(pl.DataFrame(rows, schema=schema))


def _days(scored: Scored) -> dict[str, float | None]:
    days = days_of(scored.pooled.present_returns)
    return {f"day_{name}": None if days is None else getattr(days, name) for name in Days._fields}


def _score_rows(judged: Sequence[Scored], as_of: datetime, window: Window) -> pl.DataFrame:
    rows = [
        {
            "timestamp": as_of,
            "strategy": scored.strategy.name,
            "version": scored.strategy.version,
            "symbol": "*",
            "window": window_name(window),
            "trades": scored.pooled.trades,
            "wins": scored.pooled.wins,
            "losses": scored.pooled.trades - scored.pooled.wins,
            "win_rate": scored.pooled.win_rate,
            "avg_pnl_pct": scored.pooled.avg_pnl_pct,
            "total_pnl_pct": scored.pooled.total_pnl_pct,
            "sharpe_ratio": scored.pooled.sharpe,
            "max_drawdown_pct": scored.pooled.max_drawdown * 100,
            "score": scored.pooled.score,
            "as_of": as_of,
            **_days(scored),
        }
        for scored in judged
    ]
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(
        pl.col("timestamp", "as_of").cast(TS), pl.col("day_deviation", "day_worst", "day_best").cast(pl.Float64)
    )
