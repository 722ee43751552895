"""The assets that look for better books: in-sample scores, other parameters for the weakest, new books, finalists.

Belongs here: running the designers of books on the stored universe before the holdout, and storing what they propose.
Does not belong here: designing (`llm_designer`, `strategies.search.books`), the holdout (`book_evaluation`).

No look-ahead: everything here reads deep history up to the start of the holdout.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
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
from blofin_assets.shared.llm_session import LlmSession
from blofin_assets.shared.partitions import day_start, two_days
from blofin_assets.shared.vocabulary import Author, Kind, LifecycleNote, LifecycleState, StageState
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.book_library import book_validation, judged_books, validation_frames
from blofin_assets.strategy_cycle.book_market import GROUP, book_windows, not_run
from blofin_assets.strategy_cycle.design import DESIGNERS, finalists_of, with_names
from blofin_assets.strategy_cycle.judges import LIMITS, BookJudge
from blofin_assets.strategy_cycle.library import verdicts
from blofin_assets.strategy_cycle.llm_designer import design_all, proposals_first
from blofin_assets.strategy_cycle.population import BOOKS, TICK, BookRecord, load_versions, one_of_each_name
from blofin_assets.strategy_cycle.prompt_context import (
    book_search_results,
    emphasis,
    lessons,
    purposes,
    universe_state,
)
from blofin_assets.strategy_cycle.proposals import (
    Proposal,
    TrialRow,
    book_seen_in_search,
    run_row,
    search_trial_rows,
)
from blofin_assets.strategy_cycle.search_designer import Searched, searched_by
from blofin_assets.strategy_cycle.tuning import (
    past_finalists,
    stored,
    suggested,
    tunable,
    tuning_attempts,
    tuning_runs,
)
from blofin_assets.strategy_cycle.tuning_proposals import attempted, exhausted, failed
from blofin_resources.dagster_resources import (
    ClaudeResource,
    ClockResource,
    EvolutionResource,
    MarketResource,
    WarehouseResource,
)
from blofin_resources.warehouse import Warehouse
from features.bars import Timeframe
from strategies.language.book import Book
from strategies.llm.prompts import Prompt, design_prompt, tune_prompt
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
    claude: ClaudeResource,
    evolution: EvolutionResource,
) -> dg.MaterializeResult[Any]:
    """In-sample parameter tuning of the bottom 20 % of books; improved versions may enter the holdout once."""
    as_of = cycle_as_of(context, clock, day_start)
    store, run_id = warehouse.open(), context.run.run_id
    window = search_window(store, market, as_of)
    if isinstance(window, str):
        return not_run(window)
    records = {record.strategy.name: record for record in incumbents(store, window, as_of)}
    due, spent, attempts = _due(store, records, as_of, as_of - window.end)
    tries_each = evolution.tuning_budget // SHARE
    proposals = [exhausted(BOOKS, records[name], attempts.get(name, 0)) for name in spent]
    asker = LlmSession(claude.open(store, clock), as_of, run_id)
    tries: list[TrialRow] = []

    def attempted_on(name: str) -> tuple[Proposal, list[TrialRow]]:
        book, before, attempt = records[name].strategy, asker.cost_usd, attempts.get(name, 0) + 1
        own = _market(store, window, book.timeframe)

        def prompt() -> Prompt:
            return tune_prompt(
                book, results=book_search_results(_evaluated(store, window, book)),
                lessons=lessons(store, as_of, name, kind=Kind.BOOK), market=universe_state(own), attempt=attempt,
            )  # fmt: skip

        first, told = suggested(asker, prompt)
        result = tune_book(
            own.prepared, window, book, budget=tries_each,
            seed=derived_seed(market.seed, as_of, Kind.BOOK, name, size=4), first=first,
            known=past_finalists(store, name, as_of, BOOKS),
        )  # fmt: skip
        made = [TrialRow.of_book(each, window) for each in result.tried]
        cost = asker.cost_usd - before
        return attempted(BOOKS, result, book_seen_in_search, attempt, cost=cost, **told), made

    tunings = each_alone(due if tries_each else (), attempted_on)
    for _, (proposal, made) in tunings.done:
        proposals.append(proposal)
        tries += made
    proposals += [failed(BOOKS, records[name], attempts.get(name, 0) + 1, why) for name, why in tunings.failed]
    budget = tries_each * len(due)
    few = f"BLOFIN_TUNING_BUDGET is {evolution.tuning_budget}; the tuning of a book gets a part in {SHARE} of it"
    idle = "no book is due for tuning" if not due else few if not budget else ""
    runs = tuning_runs(BOOKS, as_of, asker, budget, proposals, idle)
    return stored(store, BOOKS, BOOKS.tuning, as_of, proposals, runs, {Author.TUNER: tries}, run_id)


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
    claude: ClaudeResource,
    evolution: EvolutionResource,
) -> dg.MaterializeResult[Any]:
    """New books by each designer, with equal parts of the budget of a search of strategies."""
    as_of = cycle_as_of(context, clock, day_start)
    store, run_id = warehouse.open(), context.run.run_id
    window = search_window(store, market, as_of)
    if isinstance(window, str):
        return not_run(window)
    budget = evolution.search_budget // SHARE
    if not budget:
        few = f"BLOFIN_SEARCH_BUDGET is {evolution.search_budget}; a search of books gets a part in {SHARE} of it"
        runs = [
            run_row(BOOKS.design, designer, as_of, state=StageState.NOT_RUN, budget=0, detail=few)
            for designer in DESIGNERS
        ]
        return stored(store, BOOKS, BOOKS.design, as_of, [], runs, {}, run_id)
    played, before = incumbents(store, window, as_of), load_versions(store, as_of - TICK, BOOKS)
    asker = LlmSession(claude.open(store, clock), as_of, run_id)
    judge = BookJudge(
        window=window, market=lambda book: _market(store, window, book.timeframe, book),
        frames=lambda book: validation_frames(store, book, window.end), taken={}, seed=market.seed, limits=LIMITS,
    )  # fmt: skip
    by_claude, tries = design_all(
        asker, with_names(judge, before, played), _prompts(store, window, before, as_of), budget=budget,
        seed=derived_seed(market.seed, as_of, Kind.BOOK, Author.CLAUDE, size=4),
    )  # fmt: skip
    names = {record.strategy.name for record in before} | {made.name for made in by_claude if made.name}
    by_search, run = _searched(
        store, window, [record.strategy for record in played], names, as_of, budget=budget,
        seed=derived_seed(market.seed, as_of, Kind.BOOK, Author.SEARCH, size=4),
    )  # fmt: skip
    runs = [
        run_row(
            BOOKS.design, Author.CLAUDE, as_of, state=asker.state, detail=asker.detail, budget=budget,
            proposals=by_claude, evaluations=len(tries), spent=asker.spent(),
        ),
        run,
    ]  # fmt: skip
    both = {Author.CLAUDE: tries, Author.SEARCH: by_search.tries}
    proposals = [*proposals_first(by_claude), *by_search.made]
    return stored(store, BOOKS, BOOKS.design, as_of, proposals, runs, both, run_id)


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


@lru_cache(maxsize=3)
def _market(store: Warehouse, window: Window, timeframe: Timeframe, new: Book | None = None) -> DeepMarket:
    """Return what books on a timeframe run on in sample, read once because the stages share one process.

    A design may read bars of other symbols and timeframes, or further back: it has a market of its own.
    """
    books = [record.strategy for record in load_versions(store, window.end, BOOKS)]
    readers = [book for book in books if book.timeframe == timeframe]
    return shared_market(store, readers if new is None else [new, *readers], window.start, window.end)


def _prompts(
    store: Warehouse, window: Window, before: Sequence[BookRecord], as_of: datetime
) -> Callable[[str], Prompt]:
    state = universe_state(_market(store, window, SEARCHED))
    learnt, existing = lessons(store, as_of, kind=Kind.BOOK), purposes(record.strategy for record in before)

    def prompt(wanted: str) -> Prompt:
        return design_prompt(lessons=learnt, market=state, known=existing, wanted=wanted, book=True)

    return prompt


def _searched(
    store: Warehouse,
    window: Window,
    known: Sequence[Book],
    taken: Collection[str],
    as_of: datetime,
    *,
    budget: int,
    seed: int,
) -> tuple[Searched, dict[str, Any]]:
    """Return what the embedded search makes of its budget, and its row of `research.designer_runs`."""
    weighed = emphasis(store, as_of, Kind.BOOK)
    found = fenced(
        search_books, _market(store, window, SEARCHED).prepared, window, known, budget=budget, seed=seed,
        finalists=FINALISTS // 2, taken=taken, emphasis=weighed,
    )  # fmt: skip
    if isinstance(found, Failed):
        state, searched = StageState.NOT_RUN, Searched([], [], 0, found.reason)
    else:
        state = StageState.DONE
        searched = searched_by(
            BOOKS, found, window, weighed, lambda book: book_seen_in_search(_evaluated(store, window, book)),
            lambda row: f"{row['genome']} ({row['stage']})",
        )  # fmt: skip
    run = run_row(
        BOOKS.design, Author.SEARCH, as_of, state=state, budget=budget, proposals=searched.made,
        evaluations=searched.evaluations, detail=searched.detail,
    )  # fmt: skip
    return searched, run


def _evaluated(store: Warehouse, window: Window, book: Book) -> ScoredBook:
    return evaluate_book(InSample(_market(store, window, book.timeframe).prepared, window), book)


def _due(
    store: Warehouse, records: Mapping[str, BookRecord], as_of: datetime, holdout: timedelta
) -> tuple[list[str], list[str], dict[str, int]]:
    """Return the books to tune, those whose attempts are used up, and the attempts of each."""
    versions = {(record.strategy.name, record.strategy.version) for record in records.values()}
    scores = store.read(_SCORES, [Kind.BOOK, as_of])
    own = pl.Series([key in versions for key in scores.select("name", "version").iter_rows()], dtype=pl.Boolean)
    so_far = tuning_attempts(store, as_of, BOOKS)
    attempts = {str(name): int(count) for name, count in so_far.select("name", "attempts").iter_rows()}
    waiting = so_far.filter(pl.col("latest") > as_of - holdout)["name"].to_list()
    fixed = [name for name, record in records.items() if not tunable(record.strategy)]
    order = ranked(scores.filter(own))["name"].to_list()
    due, spent = to_tune(order, attempts, frozenset(waiting), frozenset(fixed))
    return due, spent, attempts
