"""The section on luck: the number of trials behind the best strategy, and the probability of overfitting.

Belongs here: statistics of the cycle as a whole. Does not belong here: computing them (`backtester.statistics`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from blofin_assets.reporting.document import Document, Number, Part, Share
from blofin_assets.reporting.section import Point, ReportData, Rule, Section
from blofin_assets.reporting.sections.strategies import StrategiesPart
from blofin_resources.warehouse import Warehouse

COIN: Final = 0.5
"""Probability of overfitting of a random choice."""

_TRIALS: Final = (
    "SELECT author, coalesce(purpose, 'holdout') AS purpose, count(*) AS trials FROM research.trials "
    "WHERE as_of > ? AND as_of <= ? GROUP BY ALL ORDER BY ALL"
)


class Overfitting(Part):
    """The number of trials behind the best strategy, and the probability of overfitting."""

    trials: int | None
    effective_trials: Number = None
    search_trials: int | None
    trials_today: dict[str, int]
    pbo: Share
    pbo_columns: int | None
    supported: int | None
    step_m: int | None = None


class LuckPart(Part):
    """Keys of the section in the report."""

    overfitting: Overfitting


def _collect(warehouse: Warehouse, data: ReportData) -> pl.DataFrame:
    """Return author, purpose (search or holdout), trials: the evaluations of the day."""
    return warehouse.read(_TRIALS, [data.since, data.as_of])


def _build(data: ReportData, trials: pl.DataFrame) -> LuckPart:
    tries = {f"{row['author']} ({row['purpose']})": row["trials"] for row in trials.to_dicts()}
    evidence = data.cycles.evidence
    if evidence.is_empty():
        return _without(tries)
    row = {"search_trials": None, **evidence.row(0, named=True)}
    supported = evidence.filter(pl.col("supported")).height
    second = evidence["step_m"].drop_nulls()
    named = int(second.sum()) if second.len() else None
    return LuckPart(overfitting=Overfitting.of(row, trials_today=tries, supported=supported, step_m=named))


def _without(tries: dict[str, int]) -> LuckPart:
    return LuckPart(
        overfitting=Overfitting(
            trials=None, search_trials=None, trials_today=tries, pbo=None, pbo_columns=None, supported=None
        )
    )


def _rule(report: Document) -> Iterator[Point]:
    overfitting = report.part(LuckPart).overfitting
    if overfitting.pbo is not None and overfitting.pbo >= COIN:
        yield Point(
            "warning",
            "PBO",
            "the best strategy of one half of the holdout is below the median of the other half in "
            f"{overfitting.pbo:.0%} of splits",
            "Do not prefer the first rank on this holdout alone; wait for forward days",
        )
    for best in report.part(StrategiesPart).top_5_strategies[:1]:
        if overfitting.supported == 0 and best.dsr is not None:
            yield Point(
                "info",
                best.name,
                f"{best.name} leads with a deflated Sharpe ratio of {best.dsr:.2f} ({best.losers} of "
                f"{best.episodes} independent episodes lost); supported means 0.95",
                "",
            )
        if best.dsr is None and best.episodes:
            yield Point(
                "info",
                best.name,
                f"{best.name} leads with {best.episodes} independent episodes of trades, {best.losers} of them lost: "
                "too few to distinguish it from luck",
                "",
            )


SECTION: Final = Section(
    name="luck",
    heading="How much could be luck",
    link="Luck",
    template=Path(__file__).with_suffix(".html.j2"),
    sql="SELECT * FROM research.evidence WHERE as_of = {strategies} ORDER BY dsr DESC NULLS LAST",
    part=LuckPart,
    collect=_collect,
    build=_build,
    nothing=lambda _: _without({}),
    rules=(Rule(90, _rule),),
)
