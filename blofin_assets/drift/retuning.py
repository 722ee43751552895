"""The asset that responds to drift: it tunes strategies and books; models are left to the next ML cycle.

Belongs here: the asset that a failed drift check triggers. Does not belong here: detecting drift (`assets`, `checks`),
starting the run (`sensor`), the search over parameters (`strategies.search.tuning`).

No look-ahead: parameters are searched in the search window of the last cycle, which ends where its holdout begins. The
challenger takes the holdout of the next cycle, once, and must beat the version that drifted there. Forward returns only
decide which strategies are tuned; the search does not read them.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.statistics.seeds import derived_seed
from blofin_assets.drift.assets import drift_tests
from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_assets.shared.cadences import CADENCES, ML_CYCLE, STRATEGY_CYCLE
from blofin_assets.shared.deep_market import shared_market
from blofin_assets.shared.partitions import day_start, days
from blofin_assets.shared.vocabulary import Author, Kind, LifecycleState, ProposalState, RetuneState
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.book_search import SHARE, search_window
from blofin_assets.strategy_cycle.population import (
    BOOKS,
    STRATEGIES,
    VersionRecord,
    Versions,
    load_population,
    load_versions,
)
from blofin_assets.strategy_cycle.proposals import (
    Proposal,
    TrialRow,
    book_seen_in_search,
    proposal_rows,
    search_trial_rows,
    seen_in_search,
    strategy_rows,
)
from blofin_assets.strategy_cycle.search_window import forget_panel, panel_of, windows_of
from blofin_assets.strategy_cycle.tuning_proposals import attempted
from blofin_resources.dagster_resources import ClockResource, EvolutionResource, MarketResource, WarehouseResource
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from strategies.quotas import ATTEMPTS
from strategies.search.books import tune_book
from strategies.search.tuning import tune

GROUP: Final = "retuning"
REQUEST_TAG: Final = "blofin/retune"
"""Run tag: the request, as JSON."""

_ATTEMPTS: Final = (
    "SELECT count(*) FROM research.proposals WHERE stage = ? AND attempt IS NOT NULL AND name = ? "
    "AND NOT (designer = ? AND as_of = ?)"
)
_OTHERS: Final = (
    "SELECT count(*) FROM research.proposals WHERE stage = ? AND designer = ? AND as_of = ? "
    "AND NOT list_contains(?, name)"
)
_HELD: Final = (
    "SELECT (SELECT count(*) FROM research.finalists WHERE as_of = ?) + "
    "(SELECT count(*) FROM research.cycle_history WHERE cycle = ? AND state = 'done' AND as_of = ?)"
)
_OWN: Final = "SELECT count(*) FROM research.proposals WHERE designer = ? AND as_of = ? AND name = ?"


@dataclass(frozen=True, eq=False)
class _Done:
    """The response for one strategy, book or model; `trials` are rows of `research.trials`."""

    row: dict[str, Any]
    proposal: Proposal | None = None
    trials: pl.DataFrame | None = None


@stage_asset(group=GROUP, table="research.retunes", partitions=days, deps=[drift_tests], kinds=("duckdb", "optuna"))
def drift_retuning(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    clock: ClockResource,
    evolution: EvolutionResource,
) -> dg.MaterializeResult[Any]:
    """Actions triggered by failed drift checks: a tuned challenger for the next holdout, or a retrained model."""
    as_of = cycle_as_of(context, clock, day_start)
    store, run_id = warehouse.open(), context.run.run_id
    request = _request(context.run)
    if request["kind"] == Kind.MODEL:
        done = [
            _Done(_row(request, row, as_of, RetuneState.AWAITS_CYCLE, _next_training(as_of)))
            for row in request["drifted"]
        ]
    elif request["kind"] == Kind.BOOK:
        done = _tuned_books(store, market, evolution, request, as_of)
    else:
        done = _tuned(store, market, evolution, request, as_of, run_id)
    forget_panel()
    rows = pl.DataFrame([retune.row for retune in done], infer_schema_length=None).with_columns(
        pl.col("as_of").cast(TS)
    )
    with store.transaction(run_id) as tx:
        tx.replace("research.retunes", rows, request=request["request"])
        if request["kind"] != Kind.MODEL:
            _store_challengers(tx, store, done, as_of, BOOKS if request["kind"] == Kind.BOOK else STRATEGIES)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": rows.height, "retunes": table_preview(rows), "snapshot": tx.snapshot}
    )


def _request(run: dg.DagsterRun) -> dict[str, Any]:
    text = run.tags.get(REQUEST_TAG)
    if text is None:
        msg = "this run has no request; the sensor retune_on_drift starts it, with the request as a tag"
        raise BlofinError(msg)
    request: dict[str, Any] = json.loads(text)
    return request


def _tuned(
    store: Warehouse,
    market: MarketResource,
    evolution: EvolutionResource,
    request: dict[str, Any],
    as_of: datetime,
    run_id: str,
) -> list[_Done]:
    """Tune each strategy in its search window of the last cycle."""
    cycle = _cadence(STRATEGY_CYCLE).floor(as_of)
    windows = windows_of(store, market.symbols, cycle)
    records = {record.key: record for record in load_population(store, as_of)}
    idle = "" if evolution.tuning_budget else "BLOFIN_TUNING_BUDGET is 0"
    done, snapshot = [], store.snapshot_id()
    for row in request["drifted"]:
        record = records.get((row["name"], row["version"]))
        spent = _spent(store, STRATEGIES, row["name"], as_of)
        why = idle or _too_late(store, row["name"], _next_holdout(as_of)) or _hindrance(record, spent)
        if not why and record is not None:
            why = windows.of(record.strategy.timeframes).reason
        if why or record is None:
            done.append(_Done(_row(request, row, as_of, RetuneState.NOT_RUN, why)))
            continue
        panel = panel_of(store, market.symbols, windows, record.strategy, run_id)
        versions = [key[1] for key in records if key[0] == row["name"]]
        result = tune(
            panel, record.strategy, budget=evolution.tuning_budget, known=versions,
            seed=derived_seed(market.seed, as_of, row["name"], size=4),
        )  # fmt: skip
        proposal = replace(
            attempted(STRATEGIES, result, seen_in_search, spent + 1, diagnosis=row["reason"]), designer=Author.DRIFT
        )
        state = RetuneState.TUNED if proposal.state == ProposalState.SOUND else RetuneState.UNCHANGED
        outcome = _row(request, row, as_of, state, proposal.changes or proposal.refusal or "", proposal.version)
        tries = [TrialRow.of(tried, panel.window) for tried in result.tried]
        done.append(_Done(outcome, proposal, search_trial_rows(tries, Author.TUNER, as_of, snapshot)))
    return done


def _tuned_books(
    store: Warehouse, market: MarketResource, evolution: EvolutionResource, request: dict[str, Any], as_of: datetime
) -> list[_Done]:
    """Tune each book in the search window of the last cycle."""
    window = search_window(store, market, _cadence(STRATEGY_CYCLE).floor(as_of))
    records = {record.key: record for record in load_versions(store, as_of, BOOKS)}
    budget, done, snapshot = evolution.tuning_budget // SHARE, [], store.snapshot_id()
    few = "" if budget else f"BLOFIN_TUNING_BUDGET is {evolution.tuning_budget}; a book gets a part in {SHARE} of it"
    idle = window if isinstance(window, str) else few
    for row in request["drifted"]:
        record = records.get((row["name"], row["version"]))
        spent = _spent(store, BOOKS, row["name"], as_of)
        why = idle or _too_late(store, row["name"], _next_holdout(as_of)) or _hindrance(record, spent)
        if why or record is None or isinstance(window, str):
            done.append(_Done(_row(request, row, as_of, RetuneState.NOT_RUN, why)))
            continue
        book = record.strategy
        result = tune_book(
            shared_market(store, [book], window.start, window.end).prepared, window, book, budget=budget,
            known=[key[1] for key in records if key[0] == row["name"]],
            seed=derived_seed(market.seed, as_of, Kind.BOOK, row["name"], size=4),
        )  # fmt: skip
        proposal = replace(
            attempted(BOOKS, result, book_seen_in_search, spent + 1, diagnosis=row["reason"]), designer=Author.DRIFT
        )
        state = RetuneState.TUNED if proposal.state == ProposalState.SOUND else RetuneState.UNCHANGED
        outcome = _row(request, row, as_of, state, proposal.changes or proposal.refusal or "", proposal.version)
        made = [TrialRow.of_book(each, window) for each in result.tried]
        rows = search_trial_rows(made, Author.TUNER, as_of, snapshot, Kind.BOOK)
        done.append(_Done(outcome, proposal, rows))
    return done


def _spent(store: Warehouse, of: Versions[Any], name: str, as_of: datetime) -> int:
    """Return how often a name was tuned, without what drift asked for the next holdout."""
    return int(store.read(_ATTEMPTS, [of.tuning, name, Author.DRIFT, _next_holdout(as_of)]).item())


def _too_late(store: Warehouse, name: str, holdout_end: datetime) -> str:
    """Return why no challenger of a name can take the next holdout; one that was made for it may be made again."""
    held = int(store.read(_HELD, [holdout_end, STRATEGY_CYCLE, holdout_end]).item()) > 0
    own = int(store.read(_OWN, [Author.DRIFT, holdout_end, name]).item()) > 0
    return (
        f"the holdout of {holdout_end:%Y-%m-%d} has been evaluated; a later drift check requests the next"
        if held and not own
        else ""
    )


def _hindrance(record: VersionRecord[Any] | None, spent: int) -> str:
    if record is None:
        return "this version no longer exists"
    if not record.running:
        return "it was archived meanwhile and is tracked only to the end of its grace period"
    if spent >= ATTEMPTS:
        return f"it was tuned {spent} times; the next cycle ranks it as it is"
    return (
        ""
        if any(bounds.low < bounds.high for bounds in record.strategy.ranges().values())
        else "it has no parameter to tune"
    )


def _store_challengers(tx: Any, store: Warehouse, done: list[_Done], as_of: datetime, of: Versions[Any]) -> None:
    """Store the trials and the challengers for the next holdout, and mark the versions that drifted as tuning."""
    challengers = [retune.proposal for retune in done if retune.proposal is not None]
    if not challengers:
        return
    holdout_end, names = _next_holdout(as_of), sorted(str(challenger.name) for challenger in challengers)
    others = int(store.read(_OTHERS, [of.tuning, Author.DRIFT, holdout_end, names]).item())
    proposals = proposal_rows(challengers, holdout_end).with_columns(pl.col("slot") + others)
    tx.replace("research.proposals", proposals, as_of=holdout_end, stage=of.tuning, designer=Author.DRIFT, name=names)
    tx.append(of.table, strategy_rows(challengers, as_of), key=["name", "version"])
    for retune in done:
        if retune.trials is not None:
            tx.append("research.trials", retune.trials, key=["id"])
    events = pl.DataFrame(
        [
            (retune.row["name"], retune.row["version"], LifecycleState.TUNING, as_of, f"drift: {retune.row['reason']}")
            for retune in done
            if retune.proposal
        ],
        schema={"name": pl.String, "version": pl.String, "event": pl.String, "begins_at": TS, "reason": pl.String},
        orient="row",
    )
    tx.append(of.lifecycle, events)


def _row(
    request: dict[str, Any],
    drifted: dict[str, Any],
    as_of: datetime,
    state: RetuneState,
    detail: str,
    version: str | None = None,
) -> dict[str, Any]:
    return {
        "request": request["request"],
        "as_of": as_of,
        "kind": request["kind"],
        "name": drifted["name"],
        "version": drifted["version"],
        "reason": drifted["reason"],
        "state": state,
        "new_version": version,
        "detail": detail,
    }


def _cadence(job: str) -> Any:
    return next(cadence for cadence in CADENCES if cadence.job == job)


def _next_holdout(as_of: datetime) -> datetime:
    """Return the as-of of the first strategy cycle after an evaluation date."""
    cadence = _cadence(STRATEGY_CYCLE)
    first: datetime = cadence.floor(as_of) + cadence.every
    return first


def _next_training(as_of: datetime) -> str:
    """Return which cycle retrains a model, or searches another specification if retraining did not help before."""
    cadence = _cadence(ML_CYCLE)
    return f"the ML cycle of {cadence.key(cadence.floor(as_of) + cadence.every)} retrains it; see ml.model_tuning"
