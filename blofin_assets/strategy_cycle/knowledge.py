"""The lessons of a cycle: one sentence for each outcome, with the first as-of at which it may be read.

Belongs here: wording and dating lessons, of strategies and of books. Does not belong here: choosing lessons for a
prompt (`prompt_context`).

No look-ahead: a lesson from a holdout may be read once that holdout no longer overlaps the current one, for strategies
seven days later, for books the longest holdout later; a lesson from the search window alone may be read from the next
cycle on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.statistics.windows import LONG_HOLDOUT_LENGTH, CycleWindows, Window
from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_assets.shared.backtest_rows import row_id
from blofin_assets.shared.fence import each_alone
from blofin_assets.shared.partitions import day_start, two_days
from blofin_assets.shared.vocabulary import Author, Category, Kind, ProposalState
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.book_market import GROUP as BOOK_GROUP
from blofin_assets.strategy_cycle.book_market import book_windows, not_run
from blofin_assets.strategy_cycle.book_ranking import book_ranking
from blofin_assets.strategy_cycle.library import (
    GROUP,
)
from blofin_assets.strategy_cycle.population import BOOKS, STRATEGIES, Versions, W, load_versions
from blofin_assets.strategy_cycle.prompt_context import Taught, usable_from
from blofin_assets.strategy_cycle.proposals import cut
from blofin_assets.strategy_cycle.ranking import strategy_ranking
from blofin_assets.strategy_cycle.search_window import windows_of
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from strategies.quotas import Stage
from strategies.search.books import families_of_book
from strategies.search.map_elites.sampling_weights import families_of

SHOWN: Final = 3
"""Number of best and of worst strategies or books that the lesson of a holdout names."""

_FAMILIES: Final[dict[Kind, Callable[[Any], Sequence[str]]]] = {
    Kind.STRATEGY: families_of,
    Kind.BOOK: families_of_book,
}

_PROPOSALS: Final = (
    "SELECT * EXCLUDE (run_id) FROM research.proposals WHERE as_of = ? AND stage IN (SELECT unnest(?)) "
    "ORDER BY stage, designer, slot"
)
_OUTCOMES: Final = (
    "SELECT * EXCLUDE (run_id) FROM research.holdout_outcomes WHERE as_of = ? AND stage IN (SELECT unnest(?)) "
    "ORDER BY name, version"
)
_PLURAL: Final = {Kind.STRATEGY: "strategies", Kind.BOOK: "books"}
_SCHEMA: Final[dict[str, Any]] = {
    "id": pl.String, "timestamp": TS, "kind": pl.String, "category": pl.String, "strategy": pl.String,
    "symbol": pl.String, "content": pl.String, "source": pl.String, "metadata": pl.String, "as_of": TS,
    "window_start": TS, "window_end": TS, "usable_from": TS,
}  # fmt: skip


def distil(
    store: Warehouse, as_of: datetime, of: Versions[W], windows: Callable[[W | None], CycleWindows]
) -> pl.DataFrame:
    """Return `research.knowledge_entries` of one cycle and kind.

    Parameters
    ----------
    store : Warehouse
        Proposals, outcomes and ranking of the cycle are read.
    as_of : datetime
        As-of of the cycle.
    of : Versions
        The kind.
    windows : callable
        Returns the windows of a version; of None where it no longer exists.

    Returns
    -------
    DataFrame
        Rows of the table.
    """
    proposals = store.read(_PROPOSALS, [as_of, of.stages])
    finals = store.read(_OUTCOMES, [as_of, of.stages])
    outcomes = {(row["name"], row["version"]): row for row in finals.iter_rows(named=True)}
    made = {record.key: record.strategy for record in load_versions(store, as_of, of)}

    marks = [] if of is STRATEGIES else [of.kind]  # ids of strategies' lessons are older than other kinds

    def entry(category: Category, window: Window, own: CycleWindows, **said: Any) -> dict[str, Any]:
        text = cut(said.pop("content"))
        return {
            "id": row_id("knowledge", as_of, *marks, category, said["strategy"], text),
            "timestamp": as_of,
            "kind": of.kind,
            "category": category,
            "symbol": None,
            "content": text,
            "as_of": as_of,
            "window_start": window.start,
            "window_end": window.end,
            "usable_from": _usable(of, window, own),
            **said,
        }

    def learnt(row: Mapping[str, Any]) -> dict[str, Any] | None:
        key = (row["name"], row["version"])
        outcome, version = outcomes.get(key), made.get(key)
        own = windows(version)
        said = {"strategy": row["name"], "source": row["designer"]}
        if outcome is not None:
            taught = _taught(outcome, [] if version is None else _FAMILIES[of.kind](version))
            told = taught and taught.model_dump_json()
            return entry(Category.CHANGE, own.holdout, own, content=_outcome_text(row, outcome), metadata=told, **said)
        if row["state"] == ProposalState.REFUSED and own.search is not None:
            return entry(Category.LESSON, own.search, own, content=_refused(row), metadata=None, **said)
        return None

    entries = each_alone(proposals.iter_rows(named=True), learnt)
    rows = [entry for _, entry in entries.done if entry is not None]
    results = ranked_results(store, as_of, of.kind)
    if results.height:
        own = windows(None)
        said = {"strategy": None, "source": Author.RANKING, "metadata": None}
        rows.append(entry(Category.PERFORMANCE, own.holdout, own, content=_performance(results, of.kind), **said))
    unique = {row["id"]: row for row in rows}
    return pl.DataFrame(list(unique.values()), schema=_SCHEMA)


def ranked_results(store: Warehouse, as_of: datetime, kind: Kind = Kind.STRATEGY) -> pl.DataFrame:
    """Return what a cycle ranked of a kind with the results on its holdout, the best first.

    Parameters
    ----------
    store : Warehouse
        Where ranks and results are read.
    as_of : datetime
        As-of of the cycle.
    kind : Kind
        Strategies or books.

    Returns
    -------
    DataFrame of shape (n_ranked, 7)
        `name, rank, score, total_trades, avg_pnl_pct, costs_pct, total_pnl_pct`, without those that have no score.
    """
    return store.read(query(f"strategy_cycle/ranked_{_PLURAL[kind]}"), {"as_of": as_of})


def _usable(of: Versions[Any], window: Window, own: CycleWindows) -> datetime:
    """Return the first as-of at which a lesson from a window may be read."""
    if of is STRATEGIES:
        return usable_from(window.end)
    # the holdout of books grows with the history up to its full length, and its start never moves back
    return window.end + (LONG_HOLDOUT_LENGTH if window == own.holdout else own.holdout.length)


def _taught(outcome: Mapping[str, Any], families: Sequence[str]) -> Taught | None:
    """Return the metadata of a lesson that the search reads; None if the finalist did not trade on the holdout."""
    return Taught(families=tuple(families), earned=outcome["sharpe"] > 0.0) if outcome["sharpe"] is not None else None


def _outcome_text(row: Mapping[str, Any], outcome: Mapping[str, Any]) -> str:
    kept = "stayed" if outcome["accepted"] else "did not stay"
    what = _tuned(row) if Stage(row["stage"]).tunes else f"{row['reason'] or 'A design'}"
    search, score = _score(row["search_score"], row["search_trades"]), _score(outcome["score"], outcome["trades"])
    return f"{what} Search window: {search}; on unseen days after it: {score}; it {kept} ({outcome['reason']})."


def _tuned(row: Mapping[str, Any]) -> str:
    changes = ", ".join(f"{name} {change}" for name, change in json.loads(row["changes"] or "{}").items())
    return f"Tuned {changes}."


def _refused(row: Mapping[str, Any]) -> str:
    subject = (
        f"Tuning attempt {row['attempt']}" if Stage(row["stage"]).tunes else f"Design ({row['reason'] or 'no idea'})"
    )
    return f"{subject} was refused: {row['refusal']}."


def _performance(results: pl.DataFrame, kind: Kind) -> str:
    earned = results.filter(pl.col("total_pnl_pct") > 0).height
    best, worst = results.head(SHOWN), results.tail(SHOWN).reverse()
    return (
        f"{earned} of {results.height} {_PLURAL[kind]} made money after costs on that holdout. Best: {_named(best)}. "
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
    windows = windows_of(store, market.symbols, as_of)
    rows = distil(store, as_of, STRATEGIES, lambda made: windows.short if made is None else windows.of(made.timeframes))
    return _stored(store, rows, as_of, Kind.STRATEGY, context.run.run_id)


@stage_asset(group=BOOK_GROUP, table="research.knowledge_entries", partitions=two_days, deps=[book_ranking])
def book_knowledge(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Lessons from books, each with the first as-of at which a designer of books may read it."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    windows = book_windows(store, market, as_of)
    if isinstance(windows, str):
        return not_run(windows)
    rows = distil(store, as_of, BOOKS, lambda _: windows)
    return _stored(store, rows, as_of, Kind.BOOK, context.run.run_id)


def _stored(
    store: Warehouse, rows: pl.DataFrame, as_of: datetime, kind: Kind, run_id: str
) -> dg.MaterializeResult[Any]:
    with store.transaction(run_id) as tx:
        tx.replace("research.knowledge_entries", rows, as_of=as_of, kind=kind)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "lessons": table_preview(rows.select("category", "strategy", "content", "usable_from")),
            "snapshot": tx.snapshot,
        }
    )
