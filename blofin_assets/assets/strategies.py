"""The strategy cycle's exam and ranking: who is followed from here on, and what became of the newcomers.

Belongs here: the assets that run the exam and rank. Does not belong here: backtesting (`backtester`), the order of
ranks (`strategies.ranking`), what goes before the exam (`library`, `tuning`, `designs`), rows of the ranking
(`standings`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester import Costs, Evaluation, evaluate
from blofin_assets.assets.common import cycle_as_of, lineage, require_market_data, stage_asset, table_preview
from blofin_assets.assets.designs import strategy_designs, strategy_finalists
from blofin_assets.assets.evidence import evidence_rows
from blofin_assets.assets.features import ASSETS as FEATURE_ASSETS
from blofin_assets.assets.library import (
    EXAM,
    GROUP,
    KIND,
    strategy_library,
    strategy_validation,
    validated,
    verdicts,
)
from blofin_assets.assets.results import backtest_rows, equity_rows, pooled_of, trade_rows, trial_rows
from blofin_assets.assets.standings import FAILED, REPEATS, Standings, best_numbers, standings
from blofin_assets.assets.tuning import strategy_scores, strategy_tuning
from blofin_assets.evolution.knowledge import distil
from blofin_assets.evolution.windows import windows_of
from blofin_assets.margin import margin_rules
from blofin_assets.partitions import day_start, two_days
from blofin_assets.reporting.plots import curve_names, equity_figure, markdown_png
from blofin_assets.roster import TICK, Key, Member, roster
from blofin_assets.sources import feature_manager
from blofin_assets.trials import configuration, count_searched, count_trials
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from strategies.duplicates import Positions, find_duplicate, positions

STEPS_BACK: Final = 4
"""The exam's seven days, in steps of the 48-hour grid, rounded up."""

_FINALISTS: Final = "SELECT name, version, parent_version FROM research.finalists WHERE as_of = ? ORDER BY place"
_EXHAUSTED: Final = "SELECT name, version FROM research.proposals WHERE as_of = ? AND state = 'exhausted'"
_ATTEMPT: Final = (
    "SELECT name, version, max(attempt) AS attempt FROM research.proposals "
    "WHERE as_of = ? AND stage = 'tuning' AND version IS NOT NULL GROUP BY name, version ORDER BY name, version"
)
_PROMPTS: Final = (
    "SELECT name AS strategy_name, version, '*' AS symbol, design_prompt FROM research.strategies "
    "WHERE design_prompt IS NOT NULL AND created_at <= ?"
)


@stage_asset(
    group=GROUP,
    table="research.strategy_backtest_results",
    partitions=two_days,
    deps=[strategy_finalists, *(lineage(asset, steps_back=STEPS_BACK) for asset in FEATURE_ASSETS)],
    kinds=("polars", "duckdb", "numba"),
)
def strategy_backtests(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """The exam: what is followed and the finalists, each run once on the seven days before the as-of."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    require_market_data(store, market.symbols, as_of - EXAM, as_of)
    snapshot, start = store.snapshot_id(), as_of - EXAM
    members = examined(store, as_of)
    sound = validated([each.strategy for each in members], verdicts(store, as_of))
    run = evaluate(
        sound, feature_manager(store, as_of), market.symbols, start, as_of, costs=Costs(),
        rules=margin_rules(store, market.symbols, as_of), on_error="report",
    )  # fmt: skip
    failed = {(found.name, found.version): found.error for found in run if found.error}
    if len(failed) == len(run):
        msg = f"no strategy could be run on the exam: {'; '.join(failed.values()) or 'there is none'}"
        raise BlofinError(msg)
    evaluations, copies = without_copies([found for found in run if not found.error])
    noted = _events(REPEATS, {key: f"its positions repeat those of {known}" for key, known in copies.items()}, as_of)
    noted = noted.vstack(_events(FAILED, failed, as_of))
    trials = count_trials(store, KIND, start, as_of, {configuration(found, KIND) for found in evaluations})
    searched = count_searched(store, KIND, as_of)
    evidence = evidence_rows(evaluations, KIND, as_of, trials=trials, seed=market.seed, searched=searched)
    rows = backtest_rows(evaluations, as_of, snapshot)
    results = _told(rows, members, store.read(_ATTEMPT, [as_of]), store.read(_PROMPTS, [as_of]))
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.strategy_backtest_results", results, as_of=as_of, ignore=["snapshot_id"])
        tx.replace("research.trades", trade_rows(evaluations, KIND, as_of), as_of=as_of, kind=KIND)
        tx.replace("research.equity", equity_rows(evaluations, KIND, as_of), as_of=as_of, kind=KIND)
        for author, found in _by_author(evaluations, members).items():
            tx.append("research.trials", trial_rows(found, KIND, author, as_of, snapshot), key=["id"])
        tx.replace("research.evidence", evidence, as_of=as_of, kind=KIND)
        tx.replace("research.strategy_events", noted, at=as_of, event=[REPEATS, FAILED])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": results.height,
            "strategies": len(evaluations),
            "copies": ", ".join(f"{name} repeats {known}" for (name, _), known in copies.items()) or "none",
            "failed": "; ".join(f"{name}: {why}" for (name, _), why in failed.items()) or "none",
            "trials": trials,
            "search_trials": searched,
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
    found: Standings = standings(store, as_of)
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.ranking_history", found.rows, as_of=as_of, kind=KIND)
        tx.replace("research.exam_outcomes", found.outcomes, as_of=as_of)
        tx.replace("research.strategy_configs", found.configs, as_of=as_of)
        tx.replace("research.strategy_scores", found.scores, as_of=as_of, window="7d")
        tx.replace("research.strategy_events", found.events, at=as_of, event=["active", "archived", "tuning"])
    equity = store.read(
        "SELECT name, ts, equity FROM research.equity AS e SEMI JOIN research.ranking_history AS r "
        "USING (as_of, kind, name, version) WHERE kind = ? AND as_of = ?",
        [KIND, as_of],
    )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": found.rows.height,
            "ranking": table_preview(found.table),
            "newcomers": table_preview(found.outcomes.drop("as_of", "reason")),
            "equity": dg.MetadataValue.md(
                markdown_png(equity_figure(equity, curve_names(equity, found.rows, 5)), "equity of the top five")
            ),
            "snapshot": tx.snapshot,
            **best_numbers(found.table),
        }
    )


@stage_asset(group=GROUP, table="research.knowledge_entries", partitions=two_days, deps=[strategy_ranking])
def strategy_knowledge(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """What the cycle teaches, each with the first as-of at which a designer may read it."""
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


ASSETS: Final = [
    strategy_library,
    strategy_validation,
    strategy_scores,
    strategy_tuning,
    strategy_designs,
    strategy_finalists,
    strategy_backtests,
    strategy_ranking,
    strategy_knowledge,
]


def examined(store: Warehouse, as_of: datetime) -> list[Member]:
    """Return who takes the exam of a cycle, in order of precedence: of two that do the same, the first stays.

    What was followed until now, the library's candidates, the versions that tuned ones would replace, the finalists;
    not those whose attempts to be tuned are used up, nor what cannot be made any more: a version that was tuned in the
    nights before may have lost its parent by now, and takes the exam without it.
    """
    everyone = {each.key: each for each in roster(store, as_of)}
    before = {each.key: each for each in roster(store, as_of - TICK)}
    exhausted = set(store.read(_EXHAUSTED, [as_of]).iter_rows())
    followed = [each for each in before.values() if each.running]
    candidates = [each for each in before.values() if each.source == "library" and each.state == "candidate"]
    chosen = list(store.read(_FINALISTS, [as_of]).iter_rows())
    parents = [everyone[name, parent] for name, _, parent in chosen if (name, parent) in everyone]
    finalists = [everyone[name, version] for name, version, _ in chosen if (name, version) in everyone]
    found: dict[Key, Member] = {}
    for each in [*followed, *candidates, *parents, *finalists]:
        if each.key not in exhausted:
            found.setdefault(each.key, before.get(each.key, replace(each, state="candidate")))
    return list(found.values())


def without_copies(evaluations: Sequence[Evaluation]) -> tuple[list[Evaluation], dict[Key, str]]:
    """Return the evaluations whose positions are their own, and the name that each of the others repeats.

    The first stays. A strategy that never traded is no copy of another that did not.
    """
    kept: dict[str, Positions] = {}
    stay: list[Evaluation] = []
    copies: dict[Key, str] = {}
    for found in evaluations:
        held = positions(found.trades, pooled_of(found).start, pooled_of(found).end)
        same = find_duplicate(held, kept) if held else None
        if same is None:
            kept[f"{found.name} {found.version}"] = held
            stay.append(found)
        else:
            copies[found.name, found.version] = same[0].split(" ")[0]
    return stay, copies


def _by_author(evaluations: Sequence[Evaluation], members: Sequence[Member]) -> dict[str, list[Evaluation]]:
    authors = {each.key: each.author for each in members}
    found: dict[str, list[Evaluation]] = {}
    for each in evaluations:
        found.setdefault(authors[each.name, each.version], []).append(each)
    return found


def _told(
    results: pl.DataFrame, members: Sequence[Member], attempts: pl.DataFrame, prompts: pl.DataFrame
) -> pl.DataFrame:
    """Return results with the state in which each went into the exam, and the attempt or prompt that made it."""
    states = pl.DataFrame(
        [(*each.key, each.state) for each in members], schema=["strategy_name", "version", "status"], orient="row"
    )
    numbers = attempts.rename({"name": "strategy_name", "attempt": "tuning_attempt"})
    key = ["strategy_name", "version"]
    told = results.join(states, on=key, how="left").join(numbers, on=key, how="left")
    return told.join(prompts, on=[*key, "symbol"], how="left")


def _events(event: str, reasons: Mapping[Key, str], as_of: datetime) -> pl.DataFrame:
    rows = [(*key, event, reason) for key, reason in reasons.items()]
    schema = dict.fromkeys(("name", "version", "event", "reason"), pl.String)
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.lit(as_of).cast(TS).alias("at"))
