"""What is done about drift between cycles: other parameters for a strategy; for a model the next cycle is told.

Belongs here: the asset that a failed drift check sets off. Does not belong here: noticing drift (`drift`), starting
the run (`blofin_assets.retuning`), the search over parameters (`strategies.evolution.tuning`).

No look-ahead: parameters are searched in the search window of the last cycle, which ended a week before it. What comes
of it takes the exam of the next cycle, once, and must beat the version that drifted there. Nothing of the forward
returns reaches the search: they only say who is looked at.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.windows import Window
from blofin_assets.assets.common import cycle_as_of, stage_asset, table_preview
from blofin_assets.assets.drift import drift_tests
from blofin_assets.assets.tuning import DRIFT_DESIGNER, attempted, seed_of
from blofin_assets.evolution.rows import SOUND, Made, Try, proposal_rows, strategy_rows, tries_rows
from blofin_assets.evolution.windows import forget_panel, search_panel, windows_of
from blofin_assets.partitions import day_start, days
from blofin_assets.plan import CADENCES, ML_CYCLE, STRATEGY_CYCLE
from blofin_assets.roster import Member, roster
from blofin_resources.dagster_resources import ClockResource, EvolutionResource, MarketResource, WarehouseResource
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from strategies.evolution.selection import ATTEMPTS
from strategies.evolution.tuning import tune

GROUP: Final = "retuning"
REQUEST_TAG: Final = "blofin/retune"
"""Run tag: the request, as JSON."""

_ATTEMPTS: Final = (
    "SELECT count(*) FROM research.proposals WHERE stage = 'tuning' AND attempt IS NOT NULL AND name = ? "
    "AND NOT (designer = ? AND as_of = ?)"
)
_OTHERS: Final = (
    "SELECT count(*) FROM research.proposals WHERE stage = 'tuning' AND designer = ? AND as_of = ? "
    "AND NOT list_contains(?, name)"
)
_HELD: Final = (
    "SELECT (SELECT count(*) FROM research.finalists WHERE as_of = ?) + "
    "(SELECT count(*) FROM research.cycle_events WHERE cycle = ? AND state = 'done' AND as_of = ?)"
)
_OWN: Final = "SELECT count(*) FROM research.proposals WHERE designer = ? AND as_of = ? AND name = ?"


@dataclass(frozen=True, eq=False)
class _Done:
    """What was done about one name."""

    row: dict[str, Any]
    made: Made | None = None
    tried: tuple[Try, ...] = ()


@stage_asset(group=GROUP, table="research.retunes", partitions=days, deps=[drift_tests], kinds=("duckdb", "optuna"))
def drift_retuning(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    clock: ClockResource,
    evolution: EvolutionResource,
) -> dg.MaterializeResult[Any]:
    """What a failed drift check set off: a tuned challenger for the next exam, or a model that is trained anew."""
    night = cycle_as_of(context, clock, day_start)
    store, run_id = warehouse.open(), context.run.run_id
    request = _request(context.run)
    if request["kind"] == "model":
        window, done = (
            None,
            [_Done(_row(request, each, night, "awaits cycle", _next_training(night))) for each in request["drifted"]],
        )
    else:
        window, done = _tuned(store, market, evolution, request, night, run_id)
    forget_panel()
    rows = pl.DataFrame([each.row for each in done], infer_schema_length=None).with_columns(pl.col("as_of").cast(TS))
    snapshot = store.snapshot_id()
    with store.transaction(run_id) as tx:
        tx.replace("research.retunes", rows, request=request["request"])
        if request["kind"] == "strategy":
            _store_challengers(tx, store, done, night, window, snapshot)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": rows.height, "retunes": table_preview(rows), "snapshot": tx.snapshot}
    )


ASSETS: Final = [drift_retuning]


def _request(run: dg.DagsterRun) -> dict[str, Any]:
    given = run.tags.get(REQUEST_TAG)
    if given is None:
        msg = "no drift check asked for this run; the sensor retune_on_drift starts it, with the request as a tag"
        raise BlofinError(msg)
    request: dict[str, Any] = json.loads(given)
    return request


def _tuned(
    store: Warehouse,
    market: MarketResource,
    evolution: EvolutionResource,
    request: dict[str, Any],
    night: datetime,
    run_id: str,
) -> tuple[Window | None, list[_Done]]:
    """Search other parameters for each strategy, in the search window of the last cycle."""
    cycle = _cadence(STRATEGY_CYCLE).floor(night)
    windows = windows_of(store, market.symbols, cycle)
    members = {each.key: each for each in roster(store, night)}
    idle = windows.reason or ("" if evolution.tuning_budget else "BLOFIN_TUNING_BUDGET is 0")
    done = []
    for each in request["drifted"]:
        member = members.get((each["name"], each["version"]))
        spent = int(store.read(_ATTEMPTS, [each["name"], DRIFT_DESIGNER, _next_exam(night)]).item())
        why = idle or _too_late(store, each["name"], _next_exam(night)) or _hindrance(member, spent)
        if why or member is None or windows.search is None:
            done.append(_Done(_row(request, each, night, "not run", why)))
            continue
        panel = search_panel(store, market.symbols, windows.search, run_id)
        known = [key[1] for key in members if key[0] == each["name"]]
        result = tune(
            panel, member.strategy, budget=evolution.tuning_budget, seed=seed_of(market.seed, night, each["name"]),
            known=known,
        )  # fmt: skip
        made = replace(attempted(member, result, spent + 1, 0.0, each["reason"]), designer=DRIFT_DESIGNER)
        state = "tuned" if made.state == SOUND else "unchanged"
        row = _row(request, each, night, state, made.changes or made.refusal or "", made.version)
        done.append(_Done(row, made, tuple(Try.of(tried) for tried in result.tried)))
    return windows.search, done


def _too_late(store: Warehouse, name: str, exam: datetime) -> str:
    """Say why no challenger of a name can take an exam any more; one that it was made for may be made again."""
    held = int(store.read(_HELD, [exam, STRATEGY_CYCLE, exam]).item()) > 0
    own = int(store.read(_OWN, [DRIFT_DESIGNER, exam, name]).item()) > 0
    return f"the exam of {exam:%Y-%m-%d} has been held; a later night asks for the next" if held and not own else ""


def _hindrance(member: Member | None, spent: int) -> str:
    if member is None:
        return "this version is not on the roster any more"
    if not member.running:
        return "it was archived meanwhile, and is only followed to its end"
    if spent >= ATTEMPTS:
        return f"it was tuned {spent} times; the next cycle ranks it as it is"
    return (
        "" if any(each.low < each.high for each in member.strategy.ranges().values()) else "it has no parameter to tune"
    )


def _store_challengers(
    tx: Any, store: Warehouse, done: list[_Done], night: datetime, window: Window | None, snapshot: int
) -> None:
    """Store what was tried and what takes the next exam, and mark what drifted as being tuned."""
    made = [each.made for each in done if each.made is not None]
    if not made or window is None:
        return
    exam, names = _next_exam(night), sorted(str(each.name) for each in made)
    others = int(store.read(_OTHERS, [DRIFT_DESIGNER, exam, names]).item())
    proposals = proposal_rows(made, exam).with_columns(pl.col("slot") + others)
    tx.replace("research.proposals", proposals, as_of=exam, stage="tuning", designer=DRIFT_DESIGNER, name=names)
    tx.append("research.strategies", strategy_rows(made, night), key=["name", "version"])
    tries = tries_rows(
        [tried for each in done for tried in each.tried], "tuner", night, (window.start, window.end), snapshot
    )
    tx.append("research.trials", tries, key=["id"])
    events = pl.DataFrame(
        [
            (each.row["name"], each.row["version"], "tuning", night, f"drift: {each.row['reason']}")
            for each in done
            if each.made
        ],
        schema={"name": pl.String, "version": pl.String, "event": pl.String, "at": TS, "reason": pl.String},
        orient="row",
    )
    tx.append("research.strategy_events", events)


def _row(
    request: dict[str, Any],
    drifted: dict[str, Any],
    night: datetime,
    state: str,
    detail: str,
    version: str | None = None,
) -> dict[str, Any]:
    return {
        "request": request["request"],
        "as_of": night,
        "kind": request["kind"],
        "name": drifted["name"],
        "version": drifted["version"],
        "reason": drifted["reason"],
        "state": state,
        "new_version": version,
        "detail": detail,
    }


def _cadence(job: str) -> Any:
    return next(each for each in CADENCES if each.job == job)


def _next_exam(night: datetime) -> datetime:
    """Return the as-of of the first strategy cycle after a night."""
    cadence = _cadence(STRATEGY_CYCLE)
    found: datetime = cadence.floor(night) + cadence.every
    return found


def _next_training(night: datetime) -> str:
    """Say which cycle trains a model anew, and searches for another specification where that did not help before."""
    cadence = _cadence(ML_CYCLE)
    return f"the ML cycle of {cadence.key(cadence.floor(night) + cadence.every)} trains it anew; see ml.model_tuning"
