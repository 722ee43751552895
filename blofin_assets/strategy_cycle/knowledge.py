"""The lessons of a cycle: one sentence for each outcome, with the first as-of at which it may be read.

Belongs here: wording and dating lessons. Does not belong here: choosing lessons for a prompt (`prompt_context`).

No look-ahead: a lesson from a holdout may be read once that holdout no longer overlaps the current one, seven days
later; a lesson from the search window alone may be read from the next cycle on.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.statistics.windows import Window
from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_assets.shared.backtest_rows import row_id
from blofin_assets.shared.fence import each_alone
from blofin_assets.shared.partitions import day_start, two_days
from blofin_assets.shared.vocabulary import Author, Category, ProposalState
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.library import (
    GROUP,
)
from blofin_assets.strategy_cycle.population import STRATEGIES, load_population
from blofin_assets.strategy_cycle.prompt_context import Taught, usable_from
from blofin_assets.strategy_cycle.proposals import cut
from blofin_assets.strategy_cycle.ranking import strategy_ranking
from blofin_assets.strategy_cycle.search_window import HoldingWindows, windows_of
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from strategies.quotas import Stage
from strategies.search.map_elites.sampling_weights import families_of

SHOWN: Final = 3
"""Number of best and of worst strategies that the lesson of a holdout names."""

_PROPOSALS: Final = (
    "SELECT * EXCLUDE (run_id) FROM research.proposals WHERE as_of = ? AND stage IN (SELECT unnest(?)) "
    "ORDER BY stage, designer, slot"
)
_OUTCOMES: Final = (
    "SELECT * EXCLUDE (run_id) FROM research.holdout_outcomes WHERE as_of = ? AND stage IN (SELECT unnest(?)) "
    "ORDER BY name, version"
)
_SCHEMA: Final[dict[str, Any]] = {
    "id": pl.String, "timestamp": TS, "category": pl.String, "strategy": pl.String, "symbol": pl.String,
    "content": pl.String, "source": pl.String, "metadata": pl.String, "as_of": TS, "window_start": TS,
    "window_end": TS, "usable_from": TS,
}  # fmt: skip


def distil(store: Warehouse, windows: HoldingWindows) -> pl.DataFrame:
    """Return `research.knowledge_entries` of one cycle.

    Parameters
    ----------
    store : Warehouse
        Proposals, outcomes and ranking of the cycle are read.
    windows : HoldingWindows
        Of the cycle.
    """
    as_of = windows.short.as_of
    proposals = store.read(_PROPOSALS, [as_of, STRATEGIES.stages])
    finals = store.read(_OUTCOMES, [as_of, STRATEGIES.stages])
    outcomes = {(row["name"], row["version"]): row for row in finals.iter_rows(named=True)}
    made = {record.key: record.strategy for record in load_population(store, as_of)}

    def learnt(row: Mapping[str, Any]) -> dict[str, Any] | None:
        key = (row["name"], row["version"])
        outcome, strategy = outcomes.get(key), made.get(key)
        own = windows.short if strategy is None else windows.of(strategy.timeframes)
        if outcome is not None:
            taught = _taught(outcome, [] if strategy is None else families_of(strategy))
            return _entry(
                as_of,
                own.holdout,
                Category.CHANGE,
                row["name"],
                _outcome_text(row, outcome),
                row["designer"],
                taught,
            )
        if row["state"] == ProposalState.REFUSED and own.search is not None:
            return _entry(as_of, own.search, Category.LESSON, row["name"], _refused(row), row["designer"])
        return None

    entries = each_alone(proposals.iter_rows(named=True), learnt)
    rows = [entry for _, entry in entries.done if entry is not None]
    results = ranked_results(store, as_of)
    if results.height:
        rows.append(
            _entry(as_of, windows.short.holdout, Category.PERFORMANCE, None, _performance(results), Author.RANKING)
        )
    unique = {row["id"]: row for row in rows}
    return pl.DataFrame(list(unique.values()), schema=_SCHEMA)


def ranked_results(store: Warehouse, as_of: datetime) -> pl.DataFrame:
    """Return the ranked strategies of a cycle with their results on its holdout, the best first.

    Returns
    -------
    DataFrame of shape (n_strategies, 7)
        `name, rank, score, total_trades, avg_pnl_pct, costs_pct, total_pnl_pct`, without strategies that have no score.
    """
    return store.read(query("strategy_cycle/ranked_results"), {"as_of": as_of})


def _entry(
    as_of: datetime,
    window: Window,
    category: Category,
    strategy: str | None,
    content: str,
    source: str,
    taught: Taught | None = None,
) -> dict[str, Any]:
    text = cut(content)
    return {
        "id": row_id("knowledge", as_of, category, strategy, text),
        "timestamp": as_of,
        "category": category,
        "strategy": strategy,
        "symbol": None,
        "content": text,
        "source": source,
        "metadata": taught and taught.model_dump_json(),
        "as_of": as_of,
        "window_start": window.start,
        "window_end": window.end,
        "usable_from": usable_from(window.end),
    }


def _taught(outcome: Mapping[str, Any], families: Sequence[str]) -> Taught | None:
    """Return the metadata of a lesson that the search reads; None if the finalist did not trade on the holdout."""
    return Taught(families=tuple(families), earned=outcome["sharpe"] > 0.0) if outcome["sharpe"] is not None else None


def _outcome_text(row: Mapping[str, Any], outcome: Mapping[str, Any]) -> str:
    kept = "stayed" if outcome["accepted"] else "did not stay"
    what = _tuned(row) if row["stage"] == Stage.TUNING else f"{row['reason'] or 'A design'}"
    search, score = _score(row["search_score"], row["search_trades"]), _score(outcome["score"], outcome["trades"])
    return f"{what} Search window: {search}; on unseen days after it: {score}; it {kept} ({outcome['reason']})."


def _tuned(row: Mapping[str, Any]) -> str:
    changes = ", ".join(f"{name} {change}" for name, change in json.loads(row["changes"] or "{}").items())
    return f"Tuned {changes}."


def _refused(row: Mapping[str, Any]) -> str:
    subject = (
        f"Tuning attempt {row['attempt']}" if row["stage"] == Stage.TUNING else f"Design ({row['reason'] or 'no idea'})"
    )
    return f"{subject} was refused: {row['refusal']}."


def _performance(results: pl.DataFrame) -> str:
    earned = results.filter(pl.col("total_pnl_pct") > 0).height
    best, worst = results.head(SHOWN), results.tail(SHOWN).reverse()
    return (
        f"{earned} of {results.height} strategies made money after costs on that holdout. Best: {_named(best)}. "
        f"Worst: {_named(worst)}."
    )


def _named(rows: pl.DataFrame) -> str:
    return "; ".join(
        f"{row['name']} {row['total_pnl_pct']:+.2f} % in {row['total_trades']} trades, costs {row['costs_pct']:.2f} %"
        for row in rows.iter_rows(named=True)
    )


def _score(score: float | None, trades: int | None) -> str:
    return "no trades" if score is None else f"score {score:.0f} in {trades} trades"


@stage_asset(group=GROUP, table="research.knowledge_entries", partitions=two_days, deps=[strategy_ranking])
def strategy_knowledge(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Lessons of the cycle, each with the first as-of at which a designer may read it."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    rows = distil(store, windows_of(store, market.symbols, as_of))
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.knowledge_entries", rows, as_of=as_of)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "lessons": table_preview(rows.select("category", "strategy", "content", "usable_from")),
            "snapshot": tx.snapshot,
        }
    )
