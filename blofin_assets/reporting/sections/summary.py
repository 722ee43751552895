"""The summary: what to believe, what changed and what to do; the day in a few sentences; five figures.

Belongs here: the three answers, the sentences by rules. Does not belong here: the review (`reporting.rules`).
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from backtester.statistics.overfitting import SUPPORTED
from blofin_assets.reporting.collect.cycles import holdout_words, strategy_table
from blofin_assets.reporting.document import Document, Part
from blofin_assets.reporting.section import ReportData, Section, listed
from blofin_assets.reporting.sections import changes, evidence, live, luck, models, next_steps, strategies
from blofin_assets.reporting.sections import data as market_data
from blofin_resources.warehouse import Warehouse

_BEFORE: Final = "SELECT max(report_date) AS day FROM reports.daily_reports WHERE as_of < ?"


class SummaryBy(Part):
    """Author of the summary, and why it is not by Claude."""

    author: next_steps.Author
    model: str | None
    detail: str | None


class SummaryPart(Part):
    """Keys of the section in the report."""

    summary: str
    summary_by: SummaryBy


class Answer(NamedTuple):
    """What a reader asks first, the answer in a sentence or two, and the section that has the whole of it."""

    question: str
    text: str
    section: str


def answers(report: Document) -> list[Answer]:
    """Return what to believe, what changed and what to do, from the document alone."""
    return [
        Answer("Is there anything to believe?", _belief(report), "evidence"),
        Answer("What changed?", _changed(report), "changes"),
        Answer("What is there to do?", _to_do(report), "next"),
    ]


def _belief(report: Document) -> str:
    found = report.part(luck.LuckPart).overfitting
    ranked = report.part(strategies.StrategiesPart)
    followed = report.part(evidence.EvidencePart).forward_evidence
    if found.supported is None:
        return "Not yet: no strategy has been scored."
    names = [row.name for row in ranked.ranking if row.dsr is not None and row.dsr >= SUPPORTED]
    confirmed = [row.name for row in followed.rows if row.confirmed]
    tried = f"after {found.trials:,} tries" if found.trials is not None else "after all tries"
    first = (
        f"The holdout supports {listed(names)} {tried}."
        if found.supported
        else f"Nothing on the holdout: none of {len(ranked.ranking)} strategies is supported {tried}."
    )
    if not followed.records:
        return f"{first} No forward day is counted yet."
    if confirmed:
        return f"{first} Forward days confirm {listed(confirmed)}."
    return f"{first} Forward days confirm none of {followed.records} records."


def _changed(report: Document) -> str:
    made = report.part(changes.ChangesPart).strategy_changes
    trained = report.part(models.ModelsPart).ml_changes.trained
    drift = report.part(live.LivePart).backtest_vs_live
    table = report.part(strategies.StrategiesPart).ranking
    counts = (
        ("designed", sum(bool(row.accepted) for row in made.designed)),
        ("tuned", sum(bool(row.accepted) for row in made.tuned)),
        ("archived", len(made.archived)),
    )
    told = list(filter(None, [", ".join(f"{count} {what}" for what, count in counts if count)]))
    if trained:
        told.append(f"{len(trained)} models trained, {sum(bool(row.better) for row in trained)} better than guessing")
    if drift.drift_detected:
        told.append(f"drift of {listed(sorted({test.name for test in drift.tests if test.decision == 'drift'}))}")
    leader = next((row for row in table if row.rank == 1), None)
    if leader is not None and leader.previous_rank not in {None, 1}:
        told.append(f"{leader.name} leads (before: rank {leader.previous_rank})")
    text = "; ".join(told) or "nothing: no strategy was designed, tuned or archived, and no model was trained"
    return f"{text[0].upper()}{text[1:]}."


def _to_do(report: Document) -> str:
    review = report.part(next_steps.NextPart).ai_review
    failed = [f"Find out why the section {each.section} could not be made" for each in report.not_made]
    steps = [*failed, *(step.text.rstrip(".") for step in (review.next_steps if review else ()))]
    if not steps:
        return "Nothing needs a person today." if review else "This day was not reviewed."
    more = f" And {len(steps) - 1} more." if len(steps) > 1 else ""
    return f"{steps[0]}.{more}"


def _collect(warehouse: Warehouse, data: ReportData) -> date | None:
    """Return the day of the report before this one; None where this is the first."""
    found: date | None = warehouse.read(_BEFORE, [data.as_of])["day"][0]
    return found


def _view(_: SummaryPart, data: ReportData) -> Mapping[str, object]:
    before = data.of(SECTION)
    return {"answers": answers, "day_before": before, "day_after": data.as_of.date()}


def _build(data: ReportData, _: date | None) -> SummaryPart:
    review = data.of(next_steps.SECTION)
    if review is None:
        return SummaryPart(summary=_by_rules(data), summary_by=_BY_RULES)
    by = SummaryBy(author=review.summary_author, model=review.summary_model, detail=review.summary_detail)
    return SummaryPart(summary=review.summary, summary_by=by)


_BY_RULES: Final = SummaryBy(author="rules", model=None, detail=None)


def _by_rules(data: ReportData) -> str:
    """Return the day in a few sentences: the market, the strategies, the models, the evidence of forward days."""
    kind = "synthetic" if data.synthetic else "real"
    count = "1 symbol" if len(data.symbols) == 1 else f"{len(data.symbols)} symbols"
    ended = sorted(data.of(market_data.SECTION).ended.items())
    over = "".join(f"; {symbol} ended {at:%Y-%m-%d %H:%M}" for symbol, at in ended)
    first = f"{count} of the {data.market} market ({kind}), as of {data.as_of:%Y-%m-%d %H:%M} UTC{over}."
    told = [first, _strategies(strategy_table(data.cycles)), _models(data.cycles.models), _forward(data)]
    return " ".join(filter(None, told))


def _strategies(table: pl.DataFrame) -> str:
    scored = table.filter(pl.col("score").is_not_null())
    if scored.is_empty():
        return "No strategy has been scored yet."
    best = scored.row(0, named=True)
    earned = scored.filter(pl.col("total_pnl_pct") > 0).height
    supported = scored.filter(pl.col("supported").fill_null(value=False)).height
    idle = table.height - scored.height
    silent = f" ({idle} never traded)" if idle else ""
    return (
        f"Of {table.height} strategies{silent}, {earned} made money after costs on the holdout "
        f"({holdout_words(scored)}). The first, {best['name']}, has {_percent(best['total_pnl_pct'])} in "
        f"{best['trades']} trades. Given the number of tries, {supported or 'none'} of them "
        f"{'is' if supported < 2 else 'are'} significant."  # noqa: PLR2004
    )


def _models(models: pl.DataFrame) -> str:
    if models.is_empty():
        return "No model has been trained yet."
    # Volatility clusters in any market, so predicting it is easy: direction models are counted separately.
    gated = pl.col("model_type").is_in(["volatility", "risk"])
    counts = [
        (frame.height, frame.filter(pl.col("better").fill_null(value=False)).height)
        for frame in (models.filter(~gated), models.filter(gated))
    ]
    (directional, better), (others, calm) = counts
    return (
        f"Of {directional} models of direction, {better or 'none'} beat the naive baseline on the holdout day; of "
        f"{others} models of volatility and risk, {calm or 'none'} (5 % level)."
    )


def _forward(data: ReportData) -> str:
    """Return what forward days confirm; nothing before the first of them, or where the section could not be made."""
    collected = data.own.get(evidence.SECTION.name)
    if not isinstance(collected, evidence.Collected) or collected.records.is_empty():
        return ""
    names = collected.records.filter("confirmed")["name"].to_list()
    if not names:
        return "Forward days confirm nothing that is tracked so far."
    return f"Forward days confirm {len(names)} of {collected.records.height} records: {listed(names)}."


def _percent(value: float | None) -> str:
    return "nothing" if value is None else f"{value:+.2f} %"


SECTION: Final = Section(
    name="summary",
    heading="Summary",
    template=Path(__file__).with_suffix(".html.j2"),
    part=SummaryPart,
    collect=_collect,
    build=_build,
    nothing=lambda _: SummaryPart(summary="The summary could not be made.", summary_by=_BY_RULES),
    view=_view,
)
