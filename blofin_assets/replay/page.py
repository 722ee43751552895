"""The page of a replay: one HTML file that needs no network.

Belongs here: a pure function from a summary to text, its pictures. Does not belong here: computing numbers
(`blofin_assets.replay.summary`).
"""

import base64
import io
from typing import Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from backtester.charts import chart, page_head, stackable
from backtester.statistics.choosing import CONFIDENCE, FEWEST_STRETCHES, Added
from backtester.statistics.e_process import CONFIRMS
from blofin_assets.replay.summary import ACTIVE, EVERYTHING, SCALE, Held, ReplaySummary
from blofin_assets.reporting.page.formats import number, percent, share
from blofin_assets.shared.plots import GREY, equity_figure

_BLUE: Final = "#2563eb"
_LIGHT: Final = "#93b4f5"


def replay_page(summary: ReplaySummary, market: str) -> str:
    """Return a replay as an HTML page; the same summary gives the same text.

    Parameters
    ----------
    summary : ReplaySummary
        Its numbers.
    market : str
        Name of the market, such as `archive`.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("blofin_assets.replay", ""), PackageLoader("backtester")]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(pct=percent, number=number, share=share, interval=interval)
    equity = equity_figure(summary.curves, [ACTIVE, EVERYTHING])
    page = environment.get_template("replay.html.j2").render(
        page_head=page_head(),
        s=summary,
        market=market,
        verdict=verdict(summary),
        sure=share(CONFIDENCE, 0),
        fewest=FEWEST_STRETCHES,
        confirms=CONFIRMS,
        scale=100 * SCALE,
        equity=chart(equity, _picture(equity, "joined result of the active set")),
        bars=_picture(_added_figure(summary), "what choosing added, stretch by stretch"),
    )
    return stackable(page)


def verdict(summary: ReplaySummary) -> str:
    """Return what a careful person may conclude, in words."""
    active = next((held for held in summary.sets if held.name == ACTIVE), None)
    followed = "Nothing was active." if active is None else _followed(active)
    net, gross = summary.net, summary.gross
    if gross.low is None or gross.high is None:
        least = f"at least {FEWEST_STRETCHES} are needed for an interval"
        return f"{followed} Whether choosing added anything cannot be told from {net.stretches} stretches: {least}."
    if gross.low > 0.0:
        skill = "evidence of skill in choosing"
    elif gross.high < 0.0:
        skill = "evidence that choosing did harm"
    else:
        skill = "no evidence of skill in choosing"
    return f"{followed} Choosing added {interval(gross)} a stretch before costs, {interval(net)} after: {skill}."


def _followed(active: Held) -> str:
    verb = "earned" if active.total_pct >= 0.0 else "lost"
    told = f"Following the desk {verb} {abs(active.total_pct):.2f} % over {active.net.stretches} stretches, after costs"
    if active.net.low is None or active.net.high is None:
        return f"{told}."
    excluded = active.net.low > 0.0 or active.net.high < 0.0
    return f"{told}; the {share(CONFIDENCE, 0)} interval {'excludes' if excluded else 'includes'} zero."


def interval(found: Added) -> str:
    """Return a mean with its 95 % interval, percent."""
    if found.low is None or found.high is None:
        return percent(found.mean)
    return f"{percent(found.mean)} ({number(found.low)} to {number(found.high)})"


def _added_figure(summary: ReplaySummary) -> Figure:
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots()
    rows = summary.by_stretch.drop_nulls("added_pct")
    width = 0.8 * summary.every_days
    axes.bar(rows["as_of"], rows["gross_pct"], width=width, color=_LIGHT, align="edge", label="before costs")
    axes.bar(rows["as_of"], rows["added_pct"], width=width / 2, color=_BLUE, align="edge", label="net")
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_ylabel("active less all candidates, %")
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.autofmt_xdate(rotation=0, ha="center")
    return figure


def _picture(figure: Figure, title: str) -> Markup:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110, metadata={"Software": None})
    data = base64.b64encode(drawn.getvalue()).decode()
    return Markup('<div class="plot"><img alt="{}" src="data:image/png;base64,{}"></div>').format(title, data)
