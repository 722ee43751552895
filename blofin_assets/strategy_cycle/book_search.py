"""The assets that look for better books: in-sample scores, other parameters for the weakest, new books, finalists.

Belongs here: running the search of books on the stored universe before the holdout, and storing what it proposes. Does
not belong here: the search itself (`strategies.search.books`), the holdout (`book_evaluation`).

No look-ahead: everything here reads deep history up to the start of the holdout.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.evaluation.ranking import ranked
from backtester.statistics.seeds import derived_seed
from backtester.statistics.windows import Window
from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_assets.shared.deep_market import DeepMarket, shared_market
from blofin_assets.shared.fence import Failed, each_alone, fenced
from blofin_assets.shared.partitions import day_start, two_days
from blofin_assets.shared.vocabulary import Author, Kind, LifecycleNote, LifecycleState, ProposalState, StageState
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.book_library import book_validation, judged_books
from blofin_assets.strategy_cycle.book_market import GROUP, book_windows, not_run
from blofin_assets.strategy_cycle.design import finalists_of
from blofin_assets.strategy_cycle.library import verdicts
from blofin_assets.strategy_cycle.population import BOOKS, TICK, BookRecord, load_versions, one_of_each_name
from blofin_assets.strategy_cycle.proposals import (
    Proposal,
    TrialRow,
    book_seen_in_search,
    proposal_rows,
    run_row,
    search_trial_rows,
    strategy_rows,
)
from blofin_assets.strategy_cycle.tuning_proposals import attempted, exhausted, failed
from blofin_resources.dagster_resources import ClockResource, EvolutionResource, MarketResource, WarehouseResource
from blofin_resources.warehouse import Warehouse
from features.bars import TS, Timeframe
from strategies.language.book import Book
from strategies.quotas import FINALISTS, to_tune
from strategies.search.books import InSample, ScoredBook, evaluate_book, search_books, tune_book

SHARE: Final = 4
"""Searching and tuning books get one of so many parts of the strategies' budgets: a book runs on years of hours."""
SEARCHED: Final[Timeframe] = "60m"
"""Bars of new books."""
_OUT: Final = frozenset({LifecycleState.ARCHIVED, LifecycleState.REFUSED})

_SCORES: Final = (
    "SELECT name, version, score, trades AS total_trades FROM research.trials "
    "WHERE kind = ? AND as_of = ? AND purpose = 'search' AND author = 'library' ORDER BY name, version"
)
_ATTEMPTS: Final = (
    "SELECT name, count(*) AS attempts, max(as_of) AS latest FROM research.proposals "
    "WHERE stage = ? AND attempt IS NOT NULL AND (as_of < ? OR (as_of = ? AND designer = 'drift')) GROUP BY name"
)
_VERSIONS: Final = "SELECT version FROM research.finalists WHERE name = ? AND as_of < ? ORDER BY version"


@stage_asset(
    group=GROUP,
    table="research.trials",
    partitions=two_days,
    deps=[book_validation],
    kinds=("polars", "duckdb", "numba"),
)
def book_scores(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """In-sample scores of all books, each a trial; the bottom 20 % are tuned or replaced."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    window = search_window(store, market, as_of)
    if isinstance(window, str):
        return not_run(window)
    books = [record.strategy for record in incumbents(store, window, as_of)]
    scored = each_alone(books, lambda book: _evaluated(store, window, book))
    tries = [TrialRow.of_book(each, window) for _, each in scored.done]
    rows = search_trial_rows(tries, Author.LIBRARY, as_of, store.snapshot_id(), Kind.BOOK)
    with store.transaction(context.run.run_id) as tx:
        tx.append("research.trials", rows, key=["id"])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "search_window": f"{window.start:%Y-%m-%d} to {window.end:%Y-%m-%d} UTC",
            "ranking": table_preview(rows.select("name", "score", "trades", "sharpe").sort("score", descending=True)),
            "failed": "; ".join(f"{book.name}: {why}" for book, why in scored.failed) or "none",
            "snapshot": tx.snapshot,
        }
    )


@stage_asset(
    group=GROUP,
    table="research.proposals",
    partitions=two_days,
    deps=[book_scores],
    kinds=("polars", "duckdb", "numba", "optuna"),
)
def book_tuning(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    clock: ClockResource,
    evolution: EvolutionResource,
) -> dg.MaterializeResult[Any]:
    """In-sample parameter tuning of the bottom 20 % of books; improved versions may enter the holdout once."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    window = search_window(store, market, as_of)
    if isinstance(window, str):
        return not_run(window)
    records = {record.strategy.name: record for record in incumbents(store, window, as_of)}
    due, spent, attempts = _due(store, records, as_of, as_of - window.end)
    tries_each = evolution.tuning_budget // SHARE
    proposals = [exhausted(BOOKS, records[name], attempts.get(name, 0)) for name in spent]
    tries: list[TrialRow] = []

    def attempted_on(name: str) -> tuple[Proposal, list[TrialRow]]:
        book = records[name].strategy
        result = tune_book(
            _market(store, window, book.timeframe).prepared, window, book, budget=tries_each,
            seed=derived_seed(market.seed, as_of, Kind.BOOK, name, size=4),
            known=store.read(_VERSIONS, [name, as_of])["version"].to_list(),
        )  # fmt: skip
        made = [TrialRow.of_book(each, window) for each in result.tried]
        return attempted(BOOKS, result, book_seen_in_search, attempts.get(name, 0) + 1), made

    tunings = each_alone(due if tries_each else (), attempted_on)
    for _, (proposal, made) in tunings.done:
        proposals.append(proposal)
        tries += made
    proposals += [failed(BOOKS, records[name], attempts.get(name, 0) + 1, why) for name, why in tunings.failed]
    budget = tries_each * len(due)
    few = f"BLOFIN_TUNING_BUDGET is {evolution.tuning_budget}; the tuning of a book gets a part in {SHARE} of it"
    idle = "no book is due for tuning" if not due else few if not budget else ""
    state = StageState.DONE if budget else StageState.NOT_RUN
    run = run_row(BOOKS.tuning, Author.TUNER, as_of, state=state, detail=idle, budget=budget, proposals=proposals)
    return _stored(store, as_of, proposals, run, tries, context.run.run_id)


@stage_asset(
    group=GROUP,
    table="research.designer_runs",
    partitions=two_days,
    deps=[book_scores],
    kinds=("polars", "duckdb", "numba"),
)
def book_designs(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    clock: ClockResource,
    evolution: EvolutionResource,
) -> dg.MaterializeResult[Any]:
    """New books by the embedded search, within a part of the budget of a search of strategies."""
    as_of = cycle_as_of(context, clock, day_start)
    store, run_id = warehouse.open(), context.run.run_id
    window = search_window(store, market, as_of)
    if isinstance(window, str):
        return not_run(window)
    budget = evolution.search_budget // SHARE
    if not budget:
        detail = f"BLOFIN_SEARCH_BUDGET is {evolution.search_budget}; a search of books gets a part in {SHARE} of it"
        run = run_row(BOOKS.design, Author.SEARCH, as_of, state=StageState.NOT_RUN, budget=0, detail=detail)
        return _stored(store, as_of, [], run, [], run_id)
    known = [record.strategy for record in incumbents(store, window, as_of)]
    taken = {record.strategy.name for record in load_versions(store, as_of - TICK, BOOKS)}
    searched = fenced(
        search_books, _market(store, window, SEARCHED).prepared, window, known, budget=budget,
        seed=derived_seed(market.seed, as_of, Kind.BOOK, Author.SEARCH, size=4), finalists=FINALISTS // 2, taken=taken,
    )  # fmt: skip
    if isinstance(searched, Failed):
        run = run_row(
            BOOKS.design, Author.SEARCH, as_of, state=StageState.NOT_RUN, budget=budget, detail=searched.reason
        )
        return _stored(store, as_of, [], run, [], run_id)
    share, rest = divmod(searched.evaluations, max(1, len(searched.finalists)))
    proposals = [
        Proposal(
            BOOKS.design, Author.SEARCH, ProposalState.SOUND, name=each.strategy.name, version=each.strategy.version,
            reason=each.strategy.description.split("\n\n")[0], evaluations=share + (rest if place == 0 else 0),
            strategy=each.strategy, **book_seen_in_search(_evaluated(store, window, each.strategy)),
        )
        for place, each in enumerate(searched.finalists)
    ]  # fmt: skip
    tries = [
        TrialRow(
            Author.SEARCH, row["candidate"], None, f"{row['genome']} ({row['stage']})", row["score"], row["trades"],
            row["sharpe"], window,
        )
        for row in searched.trials.iter_rows(named=True)
    ]  # fmt: skip
    stopped = ", ".join(f"{count} at {stage}" for stage, count in searched.rejected.items())
    run = run_row(
        BOOKS.design, Author.SEARCH, as_of, state=StageState.DONE, budget=budget, proposals=proposals,
        evaluations=searched.evaluations,
        detail=f"{searched.coverage:.0%} of the map filled; stopped early: {stopped or 'none'}",
    )  # fmt: skip
    return _stored(store, as_of, proposals, run, tries, run_id)


@stage_asset(
    group=GROUP,
    table="research.finalists",
    partitions=two_days,
    deps=[book_tuning, book_designs],
    kinds=("polars", "duckdb"),
)
def book_finalists(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Candidate books for the holdout: at most ten, each tested once, chosen in sample and checked for look-ahead."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    window = search_window(store, market, as_of)
    _market.cache_clear()
    if isinstance(window, str):
        return not_run(window)
    return finalists_of(
        store, as_of, BOOKS, context.run.run_id,
        lambda waiting: judged_books(store, waiting, window.end, as_of, market.seed)[0],
    )  # fmt: skip


def search_window(store: Warehouse, market: MarketResource, as_of: datetime) -> Window | str:
    """Return the window in which books are searched and tuned.

    Parameters
    ----------
    store : Warehouse
        Where deep history is stored.
    market : MarketResource
        Whose universe it is.
    as_of : datetime
        As-of of the cycle (UTC).

    Returns
    -------
    Window or str
        In one line why there is none.
    """
    windows = book_windows(store, market, as_of)
    if isinstance(windows, str):
        return windows
    return windows.search or windows.reason


def incumbents(store: Warehouse, window: Window, as_of: datetime) -> list[BookRecord]:
    """Return the books that are scored in the search window: those not archived when the holdout starts.

    Each name appears once: the version that was deployed then, else the library's. A later state would depend on
    returns of the holdout.

    Parameters
    ----------
    store : Warehouse
        Where versions and events are read.
    window : Window
        The search window; the holdout starts at its end.
    as_of : datetime
        As-of of the cycle (UTC): versions without a verdict by then are left out.

    Returns
    -------
    list of VersionRecord
        Sorted by name.
    """
    judged = verdicts(store, as_of, BOOKS)
    return one_of_each_name(
        record
        for record in load_versions(store, window.end, BOOKS)
        if record.state not in _OUT and judged.get(record.key) == LifecycleNote.VALIDATED
    )


@lru_cache(maxsize=2)
def _market(store: Warehouse, window: Window, timeframe: Timeframe) -> DeepMarket:
    """Return what books on a timeframe run on in sample, read once because the stages share one process."""
    books = [record.strategy for record in load_versions(store, window.end, BOOKS)]
    return shared_market(store, [book for book in books if book.timeframe == timeframe], window.start, window.end)


def _evaluated(store: Warehouse, window: Window, book: Book) -> ScoredBook:
    return evaluate_book(InSample(_market(store, window, book.timeframe).prepared, window), book)


def _due(
    store: Warehouse, records: Mapping[str, BookRecord], as_of: datetime, holdout: timedelta
) -> tuple[list[str], list[str], dict[str, int]]:
    """Return the books to tune, those whose attempts are used up, and the attempts of each."""
    versions = {(record.strategy.name, record.strategy.version) for record in records.values()}
    scores = store.read(_SCORES, [Kind.BOOK, as_of])
    own = pl.Series([key in versions for key in scores.select("name", "version").iter_rows()], dtype=pl.Boolean)
    so_far = store.read(_ATTEMPTS, [BOOKS.tuning, as_of, as_of])
    attempts = {str(name): int(count) for name, count in so_far.select("name", "attempts").iter_rows()}
    waiting = so_far.filter(pl.col("latest") > as_of - holdout)["name"].to_list()
    fixed = [name for name, record in records.items() if not _tunable(record.strategy)]
    order = ranked(scores.filter(own))["name"].to_list()
    due, spent = to_tune(order, attempts, frozenset(waiting), frozenset(fixed))
    return due, spent, attempts


def _tunable(book: Book) -> bool:
    return any(bounds.low < bounds.high for bounds in book.ranges().values())


def _stored(
    store: Warehouse,
    as_of: datetime,
    proposals: Sequence[Proposal],
    run: dict[str, Any],
    tries: Iterable[TrialRow],
    run_id: str,
) -> dg.MaterializeResult[Any]:
    """Store a stage's proposals, its run and its trials in one commit."""
    rows, snapshot = proposal_rows(proposals, as_of), store.snapshot_id()
    made = search_trial_rows(tries, run["designer"], as_of, snapshot, Kind.BOOK)
    runs = pl.DataFrame([run], infer_schema_length=None).with_columns(pl.col("as_of").cast(TS))
    mine = {"as_of": as_of, "stage": run["stage"], "designer": [run["designer"]]}
    with store.transaction(run_id) as tx:
        tx.replace("research.proposals", rows, **mine)
        tx.replace("research.designer_runs", runs, **mine)
        tx.append("research.books", strategy_rows(proposals, as_of), key=["name", "version"])
        tx.append("research.trials", made, key=["id"])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "proposals": table_preview(rows.select("designer", "name", "state", "changes", "search_score", "refusal")),
            "state": f"{run['state']} {run['detail'] or ''}".strip(),
            "budget": run["budget"],
            "evaluations": run["evaluations"],
            "tries": made.height,
            "snapshot": tx.snapshot,
        }
    )
