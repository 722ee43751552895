"""The report as a page: one HTML file that works offline and on a phone.

Belongs here: turning a document and frames into HTML. Does not belong here: what the report says (`document`).
"""

from pathlib import Path
from typing import Any, Final

import jinja2

from blofin_assets.reporting.collect import TOP, ReportData
from blofin_assets.reporting.plots import curve_names, equity_figure, svg

_TEMPLATES: Final = Path(__file__).parent / "templates"


def render_page(document: dict[str, Any], data: ReportData) -> str:
    """Return the page of a report.

    Parameters
    ----------
    document : dict
        From `build_document`, with `provenance` added.
    data : ReportData
        What the plots and the tables beyond the top five are made of.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(number=_number, percent=_percent, share=_share, basis_points=_basis_points)
    return environment.get_template("report.html.j2").render(
        report=document,
        ranking=data.strategy_ranking.to_dicts(),
        lanes=data.lanes.to_dicts(),
        strategy_plot=_plot(data.strategy_equity, data.strategy_ranking),
        model_plot=_plot(data.model_equity, data.model_ranking),
    )


def _plot(equity: Any, ranking: Any) -> str:
    names = curve_names(equity, ranking, TOP)
    return svg(equity_figure(equity, names)) if names else ""


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None, digits: int = 2) -> str:
    """Show a number that already is a percentage."""
    return "–" if value is None else f"{value:+.{digits}f} %"


def _basis_points(value: float | None) -> str:
    """Show a rate a side in basis points; null is a result below zero even without it."""
    return "loses without" if value is None else f"{1e4 * value:.1f} bp"


def _share(value: float | None, digits: int = 1) -> str:
    """Show a fraction as a percentage."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"
