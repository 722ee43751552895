"""The assets of new strategies and of finalists.

Belongs here: running both designers, choosing the finalists among all proposals. Does not belong here: designing
(`llm_designer`, `search_designer`, `strategies.search`), the holdout (`evaluation`).

No look-ahead: designers read the search window and the lessons that may be used, nothing of the holdout.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import dagster as dg
import polars as pl

from backtester.statistics.seeds import derived_seed
from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_assets.shared.fence import Failed, fenced
from blofin_assets.shared.llm_session import LlmSession
from blofin_assets.shared.partitions import day_start, two_days
from blofin_assets.shared.vocabulary import Author, LifecycleNote, LifecycleState, StageState
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.in_sample import incumbents, strategy_scores
from blofin_assets.strategy_cycle.judges import LIMITS, Judge, StrategyJudge
from blofin_assets.strategy_cycle.library import GROUP, judged_rows, verdicts
from blofin_assets.strategy_cycle.llm_designer import design_all, proposals_first
from blofin_assets.strategy_cycle.population import (
    STRATEGIES,
    TICK,
    Key,
    VersionRecord,
    Versions,
    W,
    load_population,
    load_versions,
)
from blofin_assets.strategy_cycle.prompt_context import emphasis, lessons, market_state, purposes
from blofin_assets.strategy_cycle.proposals import run_row
from blofin_assets.strategy_cycle.search_designer import Searched, search_for
from blofin_assets.strategy_cycle.search_window import (
    HoldingWindows,
    forget_panel,
    panel_of,
    search_panel,
    validation_market,
    windows_of,
)
from blofin_assets.strategy_cycle.tuning import stored, strategy_tuning
from blofin_resources.dagster_resources import (
    ClaudeResource,
    ClockResource,
    EvolutionResource,
    MarketResource,
    WarehouseResource,
)
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from features.market import Market
from strategies.language.strategy import Strategy
from strategies.llm.prompts import Prompt, design_prompt
from strategies.quotas import Proposal, Stage, choose_finalists
from strategies.search.panel import Panel
from strategies.validation.duplicates import Positions

DESIGNERS: Final = (Author.CLAUDE, Author.SEARCH)

J = TypeVar("J", bound=Judge[Any, Any])

_SOUND: Final = (
    "SELECT stage, designer, slot, name, version, parent_version, objective, parent_objective FROM research.proposals "
    "WHERE as_of = ? AND state = 'sound' AND stage IN (SELECT unnest(?)) ORDER BY stage, designer, slot"
)


@stage_asset(
    group=GROUP,
    table="research.designer_runs",
    partitions=two_days,
    deps=[strategy_scores],
    kinds=("polars", "duckdb", "numba"),
)
def strategy_designs(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    clock: ClockResource,
    claude: ClaudeResource,
    evolution: EvolutionResource,
) -> dg.MaterializeResult[Any]:
    """New strategies by each designer, with equal budgets of in-sample evaluations."""
    as_of = cycle_as_of(context, clock, day_start)
    store, run_id = warehouse.open(), context.run.run_id
    windows = windows_of(store, market.symbols, as_of)
    budget = evolution.search_budget
    idle = windows.short.reason or ("BLOFIN_SEARCH_BUDGET is 0" if not budget else "")
    if windows.short.search is None or idle:
        runs = [
            run_row(Stage.DESIGN, designer, as_of, state=StageState.NOT_RUN, budget=budget, detail=idle)
            for designer in DESIGNERS
        ]
        return stored(store, STRATEGIES, Stage.DESIGN, as_of, [], runs, {}, run_id)
    panel = search_panel(store, market.symbols, windows.short.search, run_id)
    asker = LlmSession(claude.open(store, clock), as_of, run_id)
    judge = _judge(store, market, windows, run_id)
    prompt = _prompts(store, panel, as_of)
    by_claude, tries = design_all(
        asker, judge, prompt, budget=budget, seed=derived_seed(market.seed, as_of, Author.CLAUDE, size=4)
    )
    names = {*judge.taken, *(proposal.name for proposal in by_claude if proposal.name)}
    seeds = [record.strategy for record in incumbents(store, windows)]
    searched = fenced(
        search_for, panel, seeds, names, budget=budget, seed=derived_seed(market.seed, as_of, Author.SEARCH, size=4),
        emphasis=emphasis(store, as_of),
    )  # fmt: skip
    by_search = Searched([], [], 0, f"error: {searched.reason}") if isinstance(searched, Failed) else searched
    proposals = [*proposals_first(by_claude), *by_search.made]
    runs = [
        run_row(
            Stage.DESIGN, Author.CLAUDE, as_of, state=asker.state, detail=asker.detail, budget=budget,
            proposals=by_claude, evaluations=len(tries), spent=asker.spent(),
        ),
        run_row(
            Stage.DESIGN, Author.SEARCH, as_of,
            state=StageState.NOT_RUN if isinstance(searched, Failed) else StageState.DONE,
            detail=by_search.detail, budget=budget, proposals=by_search.made, evaluations=by_search.evaluations,
        ),
    ]  # fmt: skip
    both = {Author.CLAUDE: tries, Author.SEARCH: by_search.tries}
    return stored(store, STRATEGIES, Stage.DESIGN, as_of, proposals, runs, both, run_id)


@stage_asset(
    group=GROUP,
    table="research.finalists",
    partitions=two_days,
    deps=[strategy_tuning, strategy_designs],
    kinds=("polars", "duckdb"),
)
def strategy_finalists(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Candidates for the holdout: at most ten, each tested once, chosen in sample and checked for look-ahead."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    forget_panel()
    windows = windows_of(store, market.symbols, as_of)

    def judged(waiting: Sequence[Strategy]) -> pl.DataFrame:
        parts = []
        for own in (windows.short, windows.long):
            group = [strategy for strategy in waiting if windows.of(strategy.timeframes) is own]
            data = validation_market(store, market.symbols, own.holdout.start, group) if group else None
            parts.append(judged_rows(group, data, as_of, market.seed))
        return pl.concat(parts)

    return finalists_of(store, as_of, STRATEGIES, context.run.run_id, judged)


def finalists_of(
    store: Warehouse,
    as_of: datetime,
    of: Versions[W],
    run_id: str,
    judge: Callable[[Sequence[W]], pl.DataFrame],
) -> dg.MaterializeResult[Any]:
    """Choose the finalists of a kind among its sound proposals, have each validated, and store them.

    Parameters
    ----------
    store : Warehouse
        Where proposals are read, and finalists and verdicts go.
    as_of : datetime
        As-of of the cycle (UTC).
    of : Versions
        The kind.
    run_id : str
        Run that writes.
    judge : callable
        Validates versions that have no verdict: events of the kind's lifecycle. One without an event waits.

    Returns
    -------
    MaterializeResult
        With the finalists, and what was refused or lost.
    """
    proposed, parents = _proposed_in_sample(store, as_of, of)
    verdict = verdicts(store, as_of, of)
    versions = {record.key: record.strategy for record in load_versions(store, as_of, of)}
    # a version that drift retuning made may have changed since: a feature that it reads was redefined
    lost = [proposal.key for proposal in proposed if proposal.key not in versions]
    chosen = choose_finalists([proposal for proposal in proposed if proposal.key in versions])
    events = judge([versions[proposal.key] for proposal in chosen if proposal.key not in verdict])
    verdict |= {(name, version): event for name, version, event in events.select("name", "version", "event").rows()}
    kept = [proposal for proposal in chosen if verdict.get(proposal.key) == LifecycleNote.VALIDATED]
    refused = [proposal.key for proposal in chosen if verdict.get(proposal.key) == LifecycleState.REFUSED]
    rows = _finalist_rows(kept, parents, as_of)
    candidates = rows.select(
        "name", "version", pl.lit(LifecycleState.CANDIDATE).alias("event"), pl.col("as_of").alias("begins_at"),
        pl.concat_str(pl.lit("finalist: "), "stage", pl.lit(" by "), "designer").alias("reason"),
    )  # fmt: skip
    with store.transaction(run_id) as tx:
        tx.replace("research.finalists", rows, as_of=as_of, stage=of.stages)
        tx.append(of.lifecycle, events, key=["name", "version", "event"])
        tx.append(of.lifecycle, candidates, key=["name", "version", "event"])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "finalists": table_preview(rows.select("place", "stage", "designer", "name", "version")),
            "refused": ", ".join(" ".join(key) for key in sorted(refused)) or "none",
            "lost": ", ".join(" ".join(key) for key in lost) or "none",
            "snapshot": tx.snapshot,
        }
    )


def _judge(store: Warehouse, market: MarketResource, windows: HoldingWindows, run_id: str) -> StrategyJudge:
    def data(reader: Strategy) -> Market:
        return validation_market(store, market.symbols, windows.of(reader.timeframes).holdout.start, [reader])

    nothing_taken = StrategyJudge(
        symbols=market.symbols, panel=partial(panel_of, store, market.symbols, windows, run_id=run_id), market=data,
        taken={}, seed=market.seed, limits=LIMITS,
    )  # fmt: skip
    before = load_population(store, windows.short.as_of - TICK)
    return with_names(nothing_taken, before, incumbents(store, windows))


def with_names(judge: J, before: Iterable[VersionRecord[W]], played: Iterable[VersionRecord[W]]) -> J:
    """Return a judge who knows every name in use, and the positions of the incumbents in the search window.

    Parameters
    ----------
    judge : Judge
        Of the kind.
    before : iterable of VersionRecord
        Everything of the kind that existed before the cycle.
    played : iterable of VersionRecord
        The incumbents.

    Returns
    -------
    Judge
        Another of the same.
    """
    names: dict[str, Positions] = {record.strategy.name: {} for record in before}
    held = {record.strategy.name: judge.held(record.strategy) for record in played}
    return replace(judge, taken={**names, **held})


def _prompts(store: Warehouse, panel: Panel, as_of: datetime) -> Callable[[str], Prompt]:
    state = market_state(store, panel.symbols, panel.window.end)
    strategies: list[Strategy] = [record.strategy for record in load_population(store, as_of - TICK)]
    learnt, existing = lessons(store, as_of), purposes(strategies)

    def prompt(wanted: str) -> Prompt:
        return design_prompt(lessons=learnt, market=state, known=existing, wanted=wanted, costs=panel.costs)

    return prompt


def _proposed_in_sample(
    store: Warehouse, as_of: datetime, of: Versions[Any]
) -> tuple[list[Proposal], dict[Key, str | None]]:
    """Return the sound proposals of a cycle for a kind, and for each the version that it was tuned from, if any."""
    sound = store.read(_SOUND, [as_of, of.stages])
    rows = sound.to_dicts()
    parents = {(row["name"], row["version"]): row["parent_version"] for row in rows}
    return [_proposal(row) for row in rows], parents


def _proposal(row: dict[str, Any]) -> Proposal:
    """Return a proposal with its merit: the gain of a tuned version, or the order in which a designer listed it."""
    gain = (row["objective"] or 0.0) - (row["parent_objective"] or 0.0)
    stage = Stage(row["stage"])
    merit = gain if stage.tunes else -float(row["slot"])
    return Proposal(stage, row["designer"], row["name"], row["version"], merit)


def _finalist_rows(chosen: list[Proposal], parents: Mapping[Key, str | None], as_of: datetime) -> pl.DataFrame:
    """Return the rows of `research.finalists`, in the order of choice."""
    rows = [
        {
            "as_of": as_of,
            "place": place,
            "stage": proposal.stage,
            "designer": proposal.designer,
            "name": proposal.name,
            "version": proposal.version,
            "parent_version": parents[proposal.key],
        }
        for place, proposal in enumerate(chosen, start=1)
    ]
    texts = dict.fromkeys(("stage", "designer", "name", "version", "parent_version"), pl.String)
    return pl.DataFrame(rows, schema={"as_of": TS, "place": pl.Int32, **texts})
