"""The section on the active strategies as one portfolio: combined equity and correlations.

Belongs here: the portfolio of active strategies. Does not belong here: combining curves
(`backtester.evaluation.portfolio`), choosing active strategies.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from markupsafe import Markup

from backtester.evaluation.portfolio import Portfolio, combine_equity
from backtester.statistics.allocation import inverse_volatility, risk_parity
from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.reporting import pictures
from blofin_assets.reporting.collect.cycles import Cycles
from blofin_assets.reporting.document import Count, Document, Number, Part, Share
from blofin_assets.reporting.page.tables import Column, Table
from blofin_assets.reporting.section import Point, ReportData, Rule, Section, nothing_more
from blofin_assets.shared.json_values import plain
from blofin_assets.shared.vocabulary import LifecycleState

CLOSEST: Final = 5
"""Number of pairs shown, the most correlated first."""
ALIKE: Final = 0.9
"""Correlation of hourly returns above which two strategies count as one bet."""


class Pair(Part):
    """Two strategies and the correlation of their hourly returns."""

    first: str
    second: str
    correlation: Number


class Divided(Part):
    """A strategy's part of the capital by two rules that weigh what the holdout told; null if it did not move."""

    name: str
    by_inverse_volatility: Share
    by_risk_parity: Share


class ActiveSet(Part):
    """The active strategies held together with equal capital."""

    strategies: Count
    total_pnl_pct: Number
    max_drawdown: Share
    sharpe: Number
    median_correlation: Number
    closest: list[Pair]
    divided: list[Divided]


class ActiveSetPart(Part):
    """Keys of the section in the report."""

    active_set: ActiveSet | None


def together(cycles: Cycles) -> Portfolio | None:
    """Return the active strategies of the newest cycle at equal capital; None if fewer than two have a curve."""
    active = cycles.strategy_ranking.filter(pl.col("status") == LifecycleState.ACTIVE).select("name", "version")
    curves = cycles.strategy_equity.join(active, on=["name", "version"]).sort("name", "version", "ts")
    versions = curves.select(pl.struct("name", "version").n_unique()).item()
    if cycles.strategy_time is None or versions < 2:  # noqa: PLR2004 - together takes two
        return None
    if curves["name"].n_unique() < versions:
        curves = curves.with_columns(pl.format("{} {}", "name", "version").alias("name"))
    return combine_equity(curves.select("name", "ts", "equity", "with_bars"), cycles.strategy_time - HOLDOUT_LENGTH)


def _build(data: ReportData, _: None) -> ActiveSetPart:
    held = together(data.cycles)
    if held is None:
        return ActiveSetPart(active_set=None)
    pairs = held.pairs.filter(pl.col("correlation").is_not_null()).sort(
        "correlation", "name", "other", descending=[True, False, False]
    )
    part = ActiveSet(
        strategies=len(held.names),
        total_pnl_pct=plain(held.total_pnl_pct),
        max_drawdown=plain(held.max_drawdown),
        sharpe=plain(held.sharpe),
        median_correlation=plain(float(np.median(pairs["correlation"].to_numpy()))) if pairs.height else None,
        closest=[
            Pair(first=row["name"], second=row["other"], correlation=plain(row["correlation"]))
            for row in pairs.head(CLOSEST).iter_rows(named=True)
        ],
        divided=_divided(held),
    )
    return ActiveSetPart(active_set=part)


def _divided(held: Portfolio) -> list[Divided]:
    columns = (inverse_volatility(held.returns.T), risk_parity(held.returns.T))
    return [
        Divided(name=name, by_inverse_volatility=plain(float(one)), by_risk_parity=plain(float(other)))
        for name, one, other in zip(held.names, *columns, strict=True)
    ]


_DIVIDED: Final = (
    Column("strategy", "name"),
    Column("by inverse volatility", "by_inverse_volatility", "share"),
    Column("by risk parity", "by_risk_parity", "share"),
)
_CLOSEST: Final = (
    Column("strategy", "first"),
    Column("and", "second"),
    Column("correlation", "correlation", "n2", "report.correlation"),
)


def _view(part: ActiveSetPart, data: ReportData) -> Mapping[str, object]:
    held = together(data.cycles) if part.active_set else None
    if part.active_set is None or held is None:
        return {
            "closest": Table(_CLOSEST, []),
            "divided": Table(_DIVIDED, []),
            "curve": Markup(),
            "correlation": Markup(),
        }
    return {
        "closest": Table(_CLOSEST, part.active_set.closest),
        "divided": Table(_DIVIDED, part.active_set.divided),
        "curve": pictures.live(
            pictures.curve_figure(held.equity, held.equity.head(0)),
            "active",
            f"Combined equity and drawdown of {len(held.names)} active strategies with equal capital",
        ),
        "correlation": pictures.inline(
            pictures.correlation_figure(held.names, held.correlation),
            "correlation",
            f"Correlations of hourly returns between {len(held.names)} active strategies, most correlated pairs in the "
            "table",
        ),
    }


def _alike(report: Document) -> Iterator[Point]:
    held = report.part(ActiveSetPart).active_set
    for pair in held.closest if held else ():
        if pair.correlation is not None and pair.correlation >= ALIKE:
            yield Point(
                "info",
                pair.first,
                f"{pair.first} and {pair.second} are nearly one bet (correlation {pair.correlation:.2f})",
                f"Keep one of {pair.first} and {pair.second}; the other's place could hold a different strategy",
            )


SECTION: Final = Section(
    name="active_set",
    heading="The active set together",
    link="Active set",
    template=Path(__file__).with_suffix(".html.j2"),
    sql="SELECT * FROM research.active_set WHERE kind = 'strategy' AND as_of = {strategies} ORDER BY ts",
    part=ActiveSetPart,
    collect=nothing_more,
    build=_build,
    nothing=lambda _: ActiveSetPart(active_set=None),
    view=_view,
    rules=(Rule(130, _alike),),
)
