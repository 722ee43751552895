"""The page of a replay: one HTML file that needs no network.

Belongs here: a pure function from a summary to text, its pictures. Does not belong here: computing numbers
(`blofin_assets.replay.summary`).
"""

import base64
import io
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from backtester.statistics.choosing import FEWEST_STRETCHES, Added
from backtester.statistics.e_process import CONFIRMS
from blofin_assets.replay.summary import ACTIVE, EVERYTHING, SCALE, ReplaySummary
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
        loader=PackageLoader("blofin_assets.replay", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(pct=percent, number=_number, interval=interval)
    return environment.get_template("page.html.j2").render(
        s=summary,
        market=market,
        verdict=verdict(summary),
        fewest=FEWEST_STRETCHES,
        confirms=CONFIRMS,
        scale=100 * SCALE,
        equity=_picture(equity_figure(summary.curves, [ACTIVE, EVERYTHING]), "joined result of the active set"),
        bars=_picture(_added_figure(summary), "what choosing added, stretch by stretch"),
    )


def verdict(summary: ReplaySummary) -> str:
    """Return what a careful person may conclude, in words."""
    active = next((held for held in summary.sets if held.name == ACTIVE), None)
    earned = "Nothing was active" if active is None else f"Following the desk {_told(active.net, active.total_pct)}"
    net, gross = summary.net, summary.gross
    if net.low is None or net.high is None or gross.low is None or gross.high is None:
        few = f"{net.stretches} stretches are too few to say what choosing added (at least {FEWEST_STRETCHES})"
        return f"{earned}. {few}."
    sides = {True: "choosing added something, before costs", False: "nothing shows that choosing added anything"}
    harm = "choosing did harm, before costs"
    why = harm if gross.high < 0.0 else sides[gross.low > 0.0]
    return f"{earned}. Against the mean of all candidates, {why}: {interval(gross)} a stretch; net {interval(net)}."


def _told(net: Added, total: float) -> str:
    word = "earned" if total >= 0.0 else "lost"
    told = f"{word} {abs(total):.2f} % in {net.stretches} stretches, costs paid"
    if net.low is None or net.high is None:
        return told
    sure = (
        "which is more than luck"
        if net.low > 0.0
        else "which is worse than luck"
        if net.high < 0.0
        else "which may be luck"
    )
    return f"{told}, {sure}"


def percent(value: float | None, digits: int = 2) -> str:
    """Return a percentage as people read it; a null as a dash."""
    return "–" if value is None else f"{value:+.{digits}f} %"


def interval(found: Added) -> str:
    """Return a mean with its 95 % interval, percent."""
    if found.low is None or found.high is None:
        return percent(found.mean)
    return f"{percent(found.mean)} ({found.low:+.2f} to {found.high:+.2f})"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


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
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(title, data)
