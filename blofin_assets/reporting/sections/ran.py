"""The section on what ran: the stages of the day, and the calls of Claude with their cost.

Belongs here: deriving the states of stages from stored rows. Does not belong here: deciding what is due
(`blofin_assets.scheduling.plan`).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import polars as pl

from blofin_assets.reporting.collect.cycles import ran_within
from blofin_assets.reporting.document import Count, Document, Number, Part
from blofin_assets.reporting.page.tables import Column, Table
from blofin_assets.reporting.section import Point, ReportData, Rule, Section
from blofin_assets.reporting.sections import changes, next_steps
from blofin_assets.shared.cadences import CADENCES, DRIFT, FORWARD, ML_CYCLE, STRATEGY_CYCLE
from blofin_assets.shared.json_values import plain
from blofin_assets.shared.vocabulary import StageState
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse

State = Literal["done", "partial", "not run"]
StageKey = Literal["scores", "tuning", "design", "models", "ensembles", "forward", "drift", "review"]
"""Key of a stage, for decisions; its name is for readers."""

OWN_ROLES: Final = ("reviewer", "summariser")
"""Roles of the review's own calls, which a draft leaves out."""
HOUR: Final = timedelta(hours=1)
_CADENCES: Final = {cadence.job: cadence for cadence in CADENCES}


class StageRun(Part):
    """Whether a stage ran; it is `overdue` if it should have run by now and has not succeeded."""

    key: StageKey
    name: str
    state: State
    detail: str
    overdue: bool = False


class Calls(Part):
    """Calls of one role to one model."""

    role: str
    model: str
    due: Count
    calls: Count
    answered: Count
    outcomes: str
    cost_usd: Number


class Claude(Part):
    """Calls of Claude for the day, and their cost in US dollars."""

    cost_usd: float
    calls: list[Calls]


class RanPart(Part):
    """Keys of the section in the report."""

    stages: list[StageRun]
    claude: Claude


def _collect(warehouse: Warehouse, data: ReportData) -> pl.DataFrame:
    """Return the calls for the day's as-of times, by role and model: due calls and sent calls."""
    without = OWN_ROLES if data.draft else ()
    chosen = {"since": data.since, "as_of": data.as_of, "without": list(without)}
    return warehouse.read(query("reporting/calls"), chosen)


def _build(data: ReportData, calls: pl.DataFrame) -> RanPart:
    cost = plain(float(calls["cost_usd"].sum()))
    rows = [Calls.of(row) for row in calls.iter_rows(named=True)]
    return RanPart(stages=_stages_of(data), claude=Claude(cost_usd=cost, calls=rows))


def _stages_of(data: ReportData) -> list[StageRun]:
    """Return the stages in the order of their runs; that of the review only if there is one."""
    review = data.of(next_steps.SECTION)
    cycles = data.cycles
    strategy = _cycle("scores", "strategy scores and ranking", cycles.strategy_time, data, STRATEGY_CYCLE)
    designers = data.of(changes.SECTION).designers
    return [
        strategy,
        _designed("tuning", designers, strategy),
        _designed("design", designers, strategy),
        _cycle("models", "models: training, validation and ranking", cycles.model_time, data, ML_CYCLE),
        _cycle("ensembles", "ensembles", cycles.model_time, data, ML_CYCLE),
        _tracked(data),
        _tested(data),
        *([_reviewed(review)] if review else []),
    ]


def _cycle(key: StageKey, name: str, newest: datetime | None, data: ReportData, job: str) -> StageRun:
    """Return the state of a cycle: done within the day, not due, or overdue."""
    cadence = _CADENCES[job]
    due = cadence.floor(data.as_of)
    if ran_within(job, newest, data.since, data.as_of):
        return StageRun(key=key, name=name, state="done", detail=f"as of {newest:%Y-%m-%d %H:%M} UTC")
    shown = f"shown as of {newest:%Y-%m-%d %H:%M} UTC" if newest else "nothing to show"
    if newest == due:
        detail = f"not due this day (every {cadence.every / HOUR:.0f} hours); {shown}"
        return StageRun(key=key, name=name, state="not run", detail=detail)
    detail = f"was due at {due:%Y-%m-%d %H:%M} UTC but has not succeeded; {shown}"
    return StageRun(key=key, name=name, state="not run", detail=detail, overdue=True)


def _designed(stage: Literal["tuning", "design"], designers: pl.DataFrame, cycle: StageRun) -> StageRun:
    rows = designers.filter(pl.col("stage") == stage)
    state: State = "not run"
    if cycle.state != "done":
        detail = "part of the strategy cycle, which did not run this day"
    elif rows.is_empty():
        detail = "the cycle recorded nothing about it"
    else:
        states = set(rows["state"])
        state = "done" if StageState.DONE in states else "partial" if StageState.PARTIAL in states else "not run"
        detail = "; ".join(
            f"{row['designer']}: {row['state']}"
            + (
                f", {row['evaluations']} evaluations, {row['proposals']} proposals"
                if row["state"] != StageState.NOT_RUN
                else ""
            )
            + (f" ({row['detail']})" if row["detail"] else "")
            for row in rows.iter_rows(named=True)
        )
    return StageRun(key=stage, name=f"strategy {stage}", state=state, detail=detail)


def _tracked(data: ReportData) -> StageRun:
    stage = _cycle("forward", "forward ledger", data.forward.ledger_time, data, FORWARD)
    if stage.state != "done":
        return stage
    tracked = data.forward.runs.filter(pl.col("as_of") == data.as_of).height
    detail = "nothing to track yet: strategies and models that became active today are tracked from now on"
    return stage.model_copy(update={"detail": f"{tracked} tracked, {stage.detail}" if tracked else detail})


def _tested(data: ReportData) -> StageRun:
    stage = _cycle("drift", "drift tests", data.forward.drift_time, data, DRIFT)
    if stage.state != "done":
        return stage
    decisions = data.forward.drift.filter(pl.col("as_of") == data.as_of)["decision"]
    counts = [f"{decisions.eq(key).sum()} {key}" for key in ("drift", "steady", "insufficient")]
    detail = f"{', '.join(counts) if decisions.len() else 'nothing to test'}, {stage.detail}"
    return stage.model_copy(update={"detail": detail})


def _reviewed(review: next_steps.Review) -> StageRun:
    if review.author == "claude":
        return StageRun(key="review", name="AI review", state="done", detail=f"by {review.model}")
    detail = f"reviewed by rules instead: {review.detail}"
    return StageRun(key="review", name="AI review", state="not run", detail=detail)


_STAGES: Final = (Column("stage", "name"), Column("state", "state"), Column("detail", "detail"))
_CALLS: Final = (
    Column("as", "role"),
    Column("model", "model"),
    Column("due", "due", "int", "report.due"),
    Column("made", "calls", "int", "report.made"),
    Column("answered", "answered", "int", "report.answered"),
    Column("outcomes", "outcomes", "text", "research.llm_calls.outcome"),
    Column("cost", "cost_usd", "usd", "research.llm_calls.cost_usd"),
)


def _view(part: RanPart, _: ReportData) -> Mapping[str, object]:
    return {"stages": Table(_STAGES, part.stages), "calls": Table(_CALLS, part.claude.calls)}


def _overdue(report: Document) -> Iterator[Point]:
    for stage in report.part(RanPart).stages:
        if stage.overdue:
            yield Point("error", stage.name, f"{stage.name} {stage.detail}", "Repeat what failed: blofin run")


def _lost_calls(report: Document) -> Iterator[Point]:
    for row in report.part(RanPart).claude.calls:
        if row.answered < row.calls and row.cost_usd:
            yield Point(
                "warning",
                row.role,
                f"{row.calls - row.answered} of {row.calls} calls of {row.model} as {row.role} had no answer "
                f"({row.outcomes}) and cost ${row.cost_usd:.2f}",
                f"See research.llm_calls for the failed calls as {row.role}",
            )


SECTION: Final = Section(
    name="ran",
    heading="What ran",
    template=Path(__file__).with_suffix(".html.j2"),
    sql="SELECT * FROM research.cycle_history WHERE as_of > {since} AND as_of <= {as_of} ORDER BY as_of",
    part=RanPart,
    collect=_collect,
    build=_build,
    nothing=lambda _: RanPart(stages=[], claude=Claude(cost_usd=0.0, calls=[])),
    view=_view,
    rules=(Rule(30, _overdue), Rule(150, _lost_calls)),
)
