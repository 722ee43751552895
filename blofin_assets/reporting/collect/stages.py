"""What of the day's work ran, and what did not and why.

Belongs here: reading states off what is stored. Does not belong here: deciding what is due (`blofin_assets.plan`).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

import polars as pl

from blofin_assets.partitions import DAY
from blofin_assets.plan import CADENCES, DRIFT, FORWARD, ML_CYCLE, STRATEGY_CYCLE, Cadence
from blofin_assets.reporting.collect.changes import Changes
from blofin_assets.reporting.collect.cycles import Cycles
from blofin_assets.reporting.collect.forward import Forward
from blofin_assets.reporting.collect.review import Review

State = Literal["done", "partial", "not run"]

HOUR: Final = timedelta(hours=1)

_OF: Final = {cadence.job: cadence for cadence in CADENCES}


@dataclass(frozen=True)
class Stage:
    """Whether a stage of the day ran: `done`, `partial` or `not run`, and what there is to say about it."""

    name: str
    state: State
    detail: str


def collect_stages(
    as_of: datetime, cycles: Cycles, changes: Changes, forward: Forward, review: Review | None
) -> tuple[Stage, ...]:
    """Return the stages in the order in which they run; the review's only where there is one."""
    strategy = _cycle("strategy scores and ranking", cycles.strategy_time, as_of, _OF[STRATEGY_CYCLE])
    return (
        strategy,
        _designed("strategy tuning", "tuning", changes, strategy),
        _designed("strategy design", "design", changes, strategy),
        _cycle("models: training, validation and ranking", cycles.model_time, as_of, _OF[ML_CYCLE]),
        _cycle("ensembles", cycles.model_time, as_of, _OF[ML_CYCLE]),
        _followed(as_of, forward),
        _tested(as_of, forward),
        *((_reviewed(review),) if review else ()),
    )


def _cycle(name: str, made: datetime | None, as_of: datetime, cadence: Cadence) -> Stage:
    """Return what became of a cycle: done, not due, or due and not there."""
    due = cadence.floor(as_of)
    if made == due and due > as_of - DAY:
        return Stage(name, "done", f"as of {made:%Y-%m-%d %H:%M} UTC")
    shown = f"shown as of {made:%Y-%m-%d %H:%M} UTC" if made else "nothing to show"
    if made == due:
        return Stage(name, "not run", f"not due this day (every {cadence.every / HOUR:.0f} hours); {shown}")
    return Stage(name, "not run", f"was due at {due:%Y-%m-%d %H:%M} UTC but has not succeeded; {shown}")


def _designed(name: str, stage: str, changes: Changes, cycle: Stage) -> Stage:
    if cycle.state != "done":
        return Stage(name, "not run", "part of the strategy cycle, which did not run this day")
    rows = changes.designers.filter(pl.col("stage") == stage)
    if rows.is_empty():
        return Stage(name, "not run", "the cycle left no record of it")
    told = [
        f"{row['designer']}: {row['state']}"
        + (f", {row['evaluations']} evaluations, {row['proposals']} proposals" if row["state"] != "not run" else "")
        + (f" ({row['detail']})" if row["detail"] else "")
        for row in rows.iter_rows(named=True)
    ]
    states = set(rows["state"])
    state: State = "done" if "done" in states else "partial" if "partial" in states else "not run"
    return Stage(name, state, "; ".join(told))


def _followed(as_of: datetime, forward: Forward) -> Stage:
    stage = _cycle("forward ledger", forward.ledger_time, as_of, _OF[FORWARD])
    if stage.state != "done":
        return stage
    followed = forward.runs.filter(pl.col("as_of") == as_of).height
    if not followed:
        return replace(stage, detail="nothing to follow: what this day made active is followed from now on")
    return replace(stage, detail=f"{followed} followed, {stage.detail}")


def _tested(as_of: datetime, forward: Forward) -> Stage:
    stage = _cycle("drift tests", forward.drift_time, as_of, _OF[DRIFT])
    if stage.state != "done":
        return stage
    found = forward.drift.filter(pl.col("as_of") == as_of)["decision"]
    counts = [f"{found.eq(key).sum()} {key}" for key in ("drift", "steady", "insufficient")]
    return replace(stage, detail=f"{', '.join(counts) if found.len() else 'nothing to test'}, {stage.detail}")


def _reviewed(review: Review) -> Stage:
    if review.author == "claude":
        return Stage("AI review", "done", f"by {review.model}")
    return Stage("AI review", "not run", f"reviewed by rules instead: {review.detail}")
