"""The summary: the day in a few sentences, and five figures.

Belongs here: the sentences by rules. Does not belong here: the review (`reporting.rules`).
"""

from pathlib import Path
from typing import Final

import polars as pl

from blofin_assets.reporting.collect.cycles import holdout_words, strategy_table
from blofin_assets.reporting.document import Part
from blofin_assets.reporting.section import ReportData, Section, listed, nothing_more
from blofin_assets.reporting.sections import data as market_data
from blofin_assets.reporting.sections import evidence, next_steps


class SummaryBy(Part):
    """Author of the summary, and why it is not by Claude."""

    author: next_steps.Author
    model: str | None
    detail: str | None


class SummaryPart(Part):
    """Keys of the section in the report."""

    summary: str
    summary_by: SummaryBy


def _build(data: ReportData, _: None) -> SummaryPart:
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
    collect=nothing_more,
    build=_build,
    nothing=lambda _: SummaryPart(summary="The summary could not be made.", summary_by=_BY_RULES),
)
