"""The section on changes of the strategies, with their authors and costs.

Belongs here: designs, tunings, archived strategies, their authors. Does not belong here: results of the ranked
strategies (`strategies`).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from blofin_assets.reporting.document import Count, Document, Number, Part, Share, Time
from blofin_assets.reporting.page.tables import EVIDENCE, Column, Table, columns_of
from blofin_assets.reporting.section import Point, ReportData, Rule, Section
from blofin_assets.shared.json_values import plain, ratio
from blofin_assets.shared.vocabulary import ProposalState
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from strategies.quotas import Stage

_DESIGNERS: Final = (
    "SELECT stage, designer, state, detail, budget, evaluations, proposals, finalists, accepted, supported, "
    "mean_score, best_score, model, cost_usd FROM research.designers WHERE as_of = ? ORDER BY stage, designer"
)


class Designed(Part):
    """A strategy that was designed and took the holdout."""

    name: str
    version: str
    designer: str
    reason: str | None
    fails_when: str | None
    backtest_score: Number
    trades: int | None
    sharpe: Number
    dsr: Share
    supported: bool | None
    search_score: Number
    accepted: bool | None
    replaces: str | None
    outcome: str | None
    evaluations: int | None
    cost_usd: Number


class Tuned(Part):
    """A set of parameters that was tuned and took the holdout; `improvement` is in percent of the parent's score."""

    name: str
    version: str
    designer: str
    params_changed: dict[str, str]
    reason: str | None
    improvement: Number
    improvement_points: Number
    backtest_score: Number
    parent_score: Number
    attempt: int | None
    accepted: bool | None
    outcome: str | None
    evaluations: int | None
    cost_usd: Number

    @property
    def changed(self) -> str:
        """Each parameter that changed, with its values before and after."""
        return ", ".join(f"{name} {change}" for name, change in self.params_changed.items())


class Archived(Part):
    """A strategy that is no longer active."""

    name: str
    version: str
    reason: str | None
    at: Time


class Refused(Part):
    """A proposal that never took the holdout."""

    stage: str
    designer: str
    name: str | None
    reason: str | None
    refusal: str | None


class Designer(Part):
    """One designer, or the tuner, in one stage of the day's cycle."""

    stage: str
    designer: str
    state: str
    detail: str | None
    budget: int | None
    evaluations: int | None
    proposals: int | None
    finalists: int | None
    accepted: int | None
    supported: int | None
    mean_score: Number
    best_score: Number
    model: str | None
    cost_usd: Number


class StrategyChanges(Part):
    """Changes of strategies within the day; `waiting` proposals passed validation but took no holdout."""

    designed: list[Designed]
    tuned: list[Tuned]
    archived: list[Archived]
    refused: list[Refused]
    waiting: Count
    designers: list[Designer]


class ChangesPart(Part):
    """Keys of the section in the report."""

    strategy_changes: StrategyChanges


@dataclass(frozen=True)
class Changes:
    """Changes within the day.

    Attributes
    ----------
    designers : DataFrame
        Runs of the designers and the tuner in the day's strategy cycle; empty if none was due.
    proposals : DataFrame
        Their proposals, with the results of those that took the holdout.
    archived : DataFrame
        name, version, reason, at: of strategies that are no longer active. A version that another version of its name
        replaced is listed under tuned.
    """

    designers: pl.DataFrame
    proposals: pl.DataFrame
    archived: pl.DataFrame


def _collect(warehouse: Warehouse, data: ReportData) -> Changes:
    """Return the changes after `since`, up to `as_of`."""
    time = data.cycles.strategy_time
    cycle = time if time is not None and time > data.since else None
    return Changes(
        designers=warehouse.read(_DESIGNERS, [cycle]),
        proposals=warehouse.read(query("reporting/proposals"), {"as_of": cycle}),
        archived=warehouse.read(query("reporting/archived"), {"since": data.since, "as_of": data.as_of}),
    )


def _build(_: ReportData, changes: Changes) -> ChangesPart:
    rows = list(changes.proposals.iter_rows(named=True))
    evaluated = [row for row in rows if row["accepted"] is not None]
    refused = [row for row in rows if row["state"] == ProposalState.REFUSED]
    part = StrategyChanges(
        designed=[
            Designed.of(row, backtest_score=plain(row["score"])) for row in evaluated if row["stage"] == Stage.DESIGN
        ],
        tuned=[_tuned(row) for row in evaluated if row["stage"] == Stage.TUNING],
        archived=[Archived.of(row) for row in changes.archived.iter_rows(named=True)],
        refused=[Refused.of(row) for row in refused],
        waiting=len(rows) - len(evaluated) - len(refused),
        designers=[Designer.of(row) for row in changes.designers.iter_rows(named=True)],
    )
    return ChangesPart(strategy_changes=part)


def _tuned(row: Mapping[str, Any]) -> Tuned:
    gain = None if row["score"] is None or row["parent_score"] is None else row["score"] - row["parent_score"]
    changed = json.loads(row["changes"]) if row["changes"] else {}
    return Tuned.of(
        row,
        params_changed={name: str(change) for name, change in changed.items()},
        improvement=ratio(gain, row["parent_score"]),
        improvement_points=plain(gain),
        backtest_score=plain(row["score"]),
    )


def _nothing(_: ReportData) -> ChangesPart:
    return ChangesPart(
        strategy_changes=StrategyChanges(designed=[], tuned=[], archived=[], refused=[], waiting=0, designers=[])
    )


_RUNS: Final = "research.designer_runs"
_DESIGNER_COLUMNS: Final = (
    Column("who", "designer", "text", f"{_RUNS}.designer"),
    Column("stage", "stage"),
    Column("state", "state", "text", f"{_RUNS}.state"),
    *columns_of(_RUNS, ("budget", "budget", "int"), ("used", "evaluations", "int"), ("proposals", "proposals", "int")),
    Column("finalists", "finalists", "int"),
    Column("accepted", "accepted", "int", "research.holdout_outcomes.accepted"),
    Column("mean score", "mean_score", "n1", "report.holdout_score"),
    Column("cost", "cost_usd", "usd", f"{_RUNS}.cost_usd"),
    Column("model", "model"),
    Column("detail", "detail"),
)
_DESIGNED: Final = (
    Column("strategy", "name"),
    Column("by", "designer"),
    Column("holdout score", "backtest_score", "n1", "report.holdout_score"),
    Column("search score", "search_score", "n1", "research.proposals.search_score"),
    Column("trades", "trades", "int", "research.holdout_outcomes.trades"),
    Column("DSR", "dsr", "share", f"{EVIDENCE}.dsr"),
    Column("accepted", "accepted", "yes", "research.holdout_outcomes.accepted"),
    Column("in place of", "replaces"),
    Column("cost", "cost_usd", "usd", "research.proposals.cost_usd"),
    Column("idea", "reason"),
    Column("outcome", "outcome"),
)
_TUNED: Final = (
    Column("strategy", "name"),
    Column("by", "designer"),
    Column("changed", "changed"),
    Column("holdout score", "backtest_score", "n1", "report.holdout_score"),
    Column("parent", "parent_score", "n1", "research.holdout_outcomes.parent_score"),
    Column("gain", "improvement_points", "n1", "report.improvement"),
    Column("attempt", "attempt", "int", "research.proposals.attempt"),
    Column("accepted", "accepted", "yes", "research.holdout_outcomes.accepted"),
    Column("outcome", "outcome"),
)
_ARCHIVED: Final = (Column("strategy", "name"), Column("since", "at", "time"), Column("why", "reason"))
_REFUSED: Final = (
    Column("proposal", "name"), Column("by", "designer"), Column("stage", "stage"), Column("why", "refusal"),
)  # fmt: skip


def _view(part: ChangesPart, _: ReportData) -> Mapping[str, object]:
    changes = part.strategy_changes
    return {
        "designers": Table(_DESIGNER_COLUMNS, changes.designers),
        "designed": Table(_DESIGNED, changes.designed),
        "tuned": Table(_TUNED, changes.tuned),
        "archived": Table(_ARCHIVED, changes.archived),
        "refused": Table(_REFUSED, changes.refused),
    }


def _designs(report: Document) -> Iterator[Point]:
    for row in report.part(ChangesPart).strategy_changes.designers:
        if row.state != "not run" and row.finalists and not row.accepted:
            cost = f" for ${row.cost_usd:.2f}" if row.cost_usd else ""
            yield Point(
                "info",
                row.designer,
                f"{row.designer} ({row.stage}) had {row.finalists} finalists and none accepted{cost}",
                "",
            )


SECTION: Final = Section(
    name="changes",
    heading="What changed, and why",
    link="What changed",
    template=Path(__file__).with_suffix(".html.j2"),
    sql="SELECT * FROM research.changes WHERE moment > {since} AND moment <= {as_of} ORDER BY moment, name",
    part=ChangesPart,
    collect=_collect,
    build=_build,
    nothing=_nothing,
    view=_view,
    rules=(Rule(140, _designs),),
)
