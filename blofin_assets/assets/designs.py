"""The strategy cycle before the exam: new strategies, and who of all proposals takes the exam.

Belongs here: the assets of designs and finalists. Does not belong here: designing (`blofin_assets.evolution`,
`strategies.evolution`), the exam (`strategies`).

No look-ahead: designers see the search window and lessons that may be used, nothing of the exam.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.windows import Window
from blofin_assets.assets.common import cycle_as_of, stage_asset, table_preview
from blofin_assets.assets.library import GROUP, judged_rows, verdicts
from blofin_assets.assets.tuning import NOT_RUN, in_play, seed_of, stored, strategy_scores, strategy_tuning
from blofin_assets.evolution.asking import Asker
from blofin_assets.evolution.designing import Judge, design_all, proposals_first
from blofin_assets.evolution.material import emphasis, lessons, market_state, purposes
from blofin_assets.evolution.rows import run_row
from blofin_assets.evolution.searching import search_for
from blofin_assets.evolution.windows import forget_panel, search_panel, validation_market, windows_of
from blofin_assets.partitions import day_start, two_days
from blofin_assets.roster import TICK, roster
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
from strategies.base import Strategy
from strategies.duplicates import Positions
from strategies.evolution.panel import Panel
from strategies.evolution.prompting import Prompt, design_prompt
from strategies.evolution.selection import Proposal, choose_finalists
from strategies.sandbox import Limits

LIMITS: Final = Limits()
DESIGNERS: Final = ("claude", "search")

_SOUND: Final = (
    "SELECT stage, designer, slot, name, version, parent_version, objective, parent_objective FROM research.proposals "
    "WHERE as_of = ? AND state = 'sound' ORDER BY stage, designer, slot"
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
    """New strategies by every designer, each within the same number of evaluations in the search window."""
    as_of = cycle_as_of(context, clock, day_start)
    store, run_id = warehouse.open(), context.run.run_id
    window = windows_of(store, market.symbols, as_of)
    budget = evolution.search_budget
    idle = window.reason or ("BLOFIN_SEARCH_BUDGET is 0" if not budget else "")
    if window.search is None or idle:
        runs = [run_row("design", each, as_of, state=NOT_RUN, budget=budget, detail=idle) for each in DESIGNERS]
        return stored(store, "design", as_of, [], runs, {}, None, run_id)
    panel = search_panel(store, market.symbols, window.search, run_id)
    asker = Asker(claude.open(store, clock), as_of, run_id)
    judge = _judge(store, panel, window.search, as_of, market.seed)
    prompt = _prompts(store, panel, window.search, as_of)
    made, tries = design_all(asker, judge, prompt, budget=budget, seed=seed_of(market.seed, as_of, "claude"))
    names = {*judge.taken, *(each.name for each in made if each.name)}
    seeds = [each.strategy for each in in_play(store, as_of)]
    found = search_for(
        panel, seeds, names, budget=budget, seed=seed_of(market.seed, as_of, "search"), emphasis=emphasis(store, as_of)
    )
    proposals = [*proposals_first(made), *found.made]
    runs = [
        run_row(
            "design", "claude", as_of, state=asker.state, detail=asker.detail, budget=budget, made=made,
            evaluations=len(tries), spent=asker.spent(),
        ),
        run_row(
            "design", "search", as_of, state="done", detail=found.detail, budget=budget, made=found.made,
            evaluations=found.evaluations,
        ),
    ]  # fmt: skip
    both = {"claude": tries, "search": found.tries}
    return stored(store, "design", as_of, proposals, runs, both, window.search, run_id)


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
    """Who takes the exam, at most ten and each once, chosen before it and held to the causality test."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    sound = store.read(_SOUND, [as_of])
    forget_panel()
    judged = verdicts(store, as_of)
    known = {each.key: each.strategy for each in roster(store, as_of)}
    proposed = [_proposal(row) for row in sound.iter_rows(named=True)]
    # a version that was tuned in the nights before may be another by now: a feature that it reads was defined anew
    chosen = choose_finalists([each for each in proposed if (each.name, each.version) in known])
    waiting = [known[each.name, each.version] for each in chosen if (each.name, each.version) not in judged]
    windows = windows_of(store, market.symbols, as_of)
    data = validation_market(store, market.symbols, windows.exam.start, waiting) if waiting else None
    events = judged_rows(waiting, data, as_of, market.seed)
    refused = set(events.filter(pl.col("event") == "refused").select("name", "version").iter_rows())
    refused |= {key for key, event in judged.items() if event == "refused"}
    kept = [each for each in chosen if (each.name, each.version) not in refused]
    parents = {(row["name"], row["version"]): row["parent_version"] for row in sound.iter_rows(named=True)}
    rows = _finalist_rows(kept, parents, as_of)
    candidates = rows.select(
        "name", "version", pl.lit("candidate").alias("event"), pl.col("as_of").alias("at"),
        pl.concat_str(pl.lit("finalist: "), "stage", pl.lit(" by "), "designer").alias("reason"),
    )  # fmt: skip
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.finalists", rows, as_of=as_of)
        tx.append("research.strategy_events", events, key=["name", "version", "event"])
        tx.append("research.strategy_events", candidates, key=["name", "version", "event"])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "finalists": table_preview(rows.select("place", "stage", "designer", "name", "version")),
            "refused": ", ".join(f"{name} {version}" for name, version in sorted(refused)) or "none",
            "lost": ", ".join(
                f"{each.name} {each.version}" for each in proposed if (each.name, each.version) not in known
            )
            or "none",
            "snapshot": tx.snapshot,
        }
    )


def _judge(store: Warehouse, panel: Panel, window: Window, as_of: datetime, seed: int) -> Judge:
    def market(reader: Strategy) -> Market:
        return validation_market(store, panel.symbols, window.end, [reader])

    return Judge(panel, market, _taken(store, panel, as_of), seed, LIMITS)


def _taken(store: Warehouse, panel: Panel, as_of: datetime) -> Mapping[str, Positions]:
    """Return every name that exists, with the positions of those that are looked at in the search window."""
    names: dict[str, Positions] = {each.strategy.name: {} for each in roster(store, as_of - TICK)}
    return {**names, **{each.strategy.name: _positions(panel, each.strategy) for each in in_play(store, as_of)}}


def _positions(panel: Panel, strategy: Strategy) -> Positions:
    """Return a strategy's positions in the search window; none where its signals do not fit (`strategy_scores`)."""
    try:
        return panel.positions(strategy)
    except ValueError:
        return {}


def _prompts(store: Warehouse, panel: Panel, window: Window, as_of: datetime) -> Callable[[str], Prompt]:
    state = market_state(store, panel.symbols, window.end)
    known: list[Strategy] = [each.strategy for each in roster(store, as_of - TICK)]
    learnt, told = lessons(store, as_of), purposes(known)

    def prompt(wanted: str) -> Prompt:
        return design_prompt(lessons=learnt, market=state, known=told, wanted=wanted, costs=panel.costs)

    return prompt


def _proposal(row: dict[str, Any]) -> Proposal:
    """Return a proposal with its merit: the gain of a tuned version; designers put their best first themselves."""
    gain = (row["objective"] or 0.0) - (row["parent_objective"] or 0.0)
    merit = gain if row["stage"] == "tuning" else -float(row["slot"])
    return Proposal(row["stage"], row["designer"], row["name"], row["version"], merit)


def _finalist_rows(
    chosen: list[Proposal], parents: Mapping[tuple[str, str], str | None], as_of: datetime
) -> pl.DataFrame:
    rows = [
        {
            "as_of": as_of,
            "place": place,
            "stage": each.stage,
            "designer": each.designer,
            "name": each.name,
            "version": each.version,
            "parent_version": parents[each.name, each.version],
        }
        for place, each in enumerate(chosen, start=1)
    ]
    texts = dict.fromkeys(("stage", "designer", "name", "version", "parent_version"), pl.String)
    return pl.DataFrame(rows, schema={"as_of": TS, "place": pl.Int32, **texts})
