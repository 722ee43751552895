"""Plots of the report's page.

Belongs here: drawing frames as SVG, with the same bytes for the same data. Does not belong here: pages (`page`), plots
for Dagster's metadata (`shared.plots`), computing numbers.

Plots have the width of a phone's screen, so that their text is readable there. Their colours are variables of the
page's style sheet, so that they follow its light and dark mode.
"""

import io
import re
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import polars as pl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.figure import Figure

from backtester.charts import chart
from backtester.statistics.drift import LEAST_EFFECT, Decision
from backtester.statistics.e_process import CONFIRMS
from blofin_assets.shared.plots import COLOURS

WIDTH: Final = 5.0
"""Width of a plot in inches: 360 points, as a phone's screen."""

_INK, _FAINT, _LINE, _MAIN, _AHEAD, _LOSS = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
_STYLE: Final = {
    _INK: "var(--ink)",
    _FAINT: "var(--faint)",
    _LINE: "var(--line)",
    _MAIN: "var(--main)",
    _AHEAD: "var(--ahead)",
    _LOSS: "var(--loss)",
    **{colour: f"var(--c{number})" for number, colour in enumerate(COLOURS)},
}
"""Colours as drawn, with the variables that replace them in the page."""

_HOURLY_DAYS: Final = 2.5
NAMED: Final = 4
"""Lines of a picture of many that are coloured and named."""
_LEAST_CAPITAL: Final = 0.01
"""Where a capital of 0 stands on a logarithmic axis."""

_DASHES: Final[tuple[Any, ...]] = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)), (0, (8, 2)))
"""Line styles, so that lines are distinguishable without colour."""

_NAMESPACES: Final = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'

_OWN_IDS: Final = re.compile(
    r' id="(?:figure|axes|patch|line2d|text|xtick|ytick|matplotlib\.axis|legend|[A-Z]\w+)_\d+"'
)


def curve_figure(equity: pl.DataFrame, forward: pl.DataFrame) -> Figure:
    """Return an equity curve above its drawdown, continued by the forward ledger.

    Parameters
    ----------
    equity : DataFrame
        ts, equity (1 at the start): the backtest.
    forward : DataFrame
        activated_at, ts, equity (1 at activation): one run of the forward ledger; may be empty. It continues
        from the backtest's level at activation; if the activation precedes the backtest, both start together.
    """
    figure, (upper, lower) = _axes(2.7, (3, 1))
    holdout = equity.sort("ts")
    _curve(upper, lower, holdout, 1.0, _MAIN, "holdout")
    if forward.height:
        ahead, peak = drawn_on(holdout, forward)
        _curve(upper, lower, ahead, peak, _AHEAD, "forward")
        upper.legend(loc="best", fontsize=8, frameon=False, labelcolor=_INK)
    upper.axhline(0, color=_FAINT, linewidth=0.8)
    upper.set_ylabel("return, %")
    lower.set_ylabel("drawdown, %")
    _dates(lower)
    return figure


def drawn_on(holdout: pl.DataFrame, forward: pl.DataFrame) -> tuple[pl.DataFrame, float]:
    """Return a forward curve scaled to its backtest, and the peak before it, for the drawdown.

    Parameters
    ----------
    holdout : DataFrame
        ts, equity, by time.
    forward : DataFrame
        activated_at, ts, equity (1 at activation), of one run.

    Returns
    -------
    DataFrame, float
        ts, equity, from the activation on; the largest earlier value, including the backtest's.
    """
    begun = forward.select(pl.col("activated_at").first().alias("ts"), pl.lit(1.0).alias("equity"))
    ahead = pl.concat([begun, forward.select("ts", "equity").sort("ts")])
    meet = pl.col("ts") <= max(ahead["ts"][0], holdout["ts"][0])
    before = holdout.filter(pl.col("ts") <= ahead["ts"][0])["equity"].to_list()
    step = holdout.filter(meet)["equity"][-1] - ahead.filter(meet)["equity"][-1]
    return ahead.with_columns(pl.col("equity") + step), max([1.0 + step, *before])


def lines_figure(equity: pl.DataFrame, names: Sequence[str]) -> Figure:
    """Return several equity curves, with their names below.

    Parameters
    ----------
    equity : DataFrame
        name, ts, equity.
    names : sequence of str
        Curves to plot, in the order of the legend; at most five.
    """
    figure, (axes,) = _axes(2.9, (1,))
    for name, colour, dash in zip(names, COLOURS, _DASHES, strict=False):
        curve = equity.filter(pl.col("name") == name).sort("ts")
        axes.plot(curve["ts"], 100 * (curve["equity"] - 1), color=colour, linestyle=dash, linewidth=1.4, label=name)
    axes.axhline(0, color=_FAINT, linewidth=0.8)
    axes.set_ylabel("return, %")
    _dates(axes)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False, labelcolor=_INK)
    return figure


def gain_figure(models: pl.DataFrame) -> Figure:
    """Return the gain of each model over its baseline with its interval, best first.

    Parameters
    ----------
    models : DataFrame
        model_name, log_loss_gain, log_loss_gain_low, log_loss_gain_high (nats), better.
    """
    rows = models.sort("log_loss_gain", "model_name").to_dicts()
    figure, (axes,) = _axes(0.8 + 0.19 * len(rows), (1,))
    for place, row in enumerate(rows):
        colour = _MAIN if row["better"] else _FAINT
        axes.plot([row["log_loss_gain_low"], row["log_loss_gain_high"]], [place, place], color=colour, linewidth=1.2)
        filled = colour if row["better"] else "none"
        axes.plot([row["log_loss_gain"]], [place], "o", markersize=4, color=colour, markerfacecolor=filled)
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [row["model_name"] for row in rows])
    axes.set_xlabel("gain over guessing, nats (90 % interval)")
    return figure


def drift_figure(tests: pl.DataFrame) -> Figure:
    """Return the shortfall of each test relative to expected performance, with its interval, drift first.

    Parameters
    ----------
    tests : DataFrame
        name, metric, decision, expected, expected_se, difference, low, high: the decided tests of one evaluation date,
        in the order of the plot.
    """
    rows = tests.reverse().to_dicts()
    figure, (axes,) = _axes(0.8 + 0.19 * len(rows), (1,))
    for place, row in enumerate(rows):
        scale = max(abs(row["expected"]), row["expected_se"])
        drifts = row["decision"] == Decision.DRIFT
        colour = _LOSS if drifts else _FAINT
        axes.plot([row["low"] / scale, row["high"] / scale], [place, place], color=colour, linewidth=1.2)
        filled = colour if drifts else "none"
        axes.plot([row["difference"] / scale], [place], "o", markersize=4, color=colour, markerfacecolor=filled)
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.axvline(LEAST_EFFECT, color=_INK, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_yticks(range(len(rows)), [f"{row['name']}, {row['metric']}".replace("_", " ") for row in rows])
    axes.set_xlabel("shortfall relative to expected performance")
    return figure


def evidence_figure(paths: pl.DataFrame) -> Figure:
    """Return the capital of each record against the days since its activation, the largest coloured and named.

    Parameters
    ----------
    paths : DataFrame
        kind, name, version, activated_at, day, capital (1 at activation, 0 where the assumption is broken).
    """
    figure, (axes,) = _axes(2.9, (1,))
    key = ["kind", "name", "version", "activated_at"]
    records = [frame.sort("day") for _, frame in paths.group_by(key, maintain_order=True)]
    records.sort(key=lambda frame: (-frame["capital"][-1], *frame.select(key).row(0)))
    styles = [*zip(COLOURS[:NAMED], _DASHES, strict=False)]
    for place, frame in reversed(list(enumerate(records))):
        days = np.arange(frame.height + 1)
        capital = np.maximum(np.concatenate([[1.0], frame["capital"].to_numpy()]), _LEAST_CAPITAL)
        if place < len(styles):
            colour, dash = styles[place]
            axes.plot(days, capital, color=colour, linestyle=dash, linewidth=1.4, label=frame["name"][0])
        else:
            axes.plot(days, capital, color=_FAINT, linewidth=0.6)
    axes.axhline(CONFIRMS, color=_INK, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_yscale("log")
    axes.set_xlabel("days since activation")
    axes.set_ylabel("capital")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles[::-1], labels[::-1], loc="outside lower center", ncols=2, fontsize=8, frameon=False, labelcolor=_INK
    )
    return figure


def correlation_figure(names: Sequence[str], values: Any) -> Figure:
    """Return a matrix of correlations: filled circles are positive, open ones negative, size shows strength.

    Parameters
    ----------
    names : sequence of str
        Rows and columns.
    values : ndarray of shape (n_names, n_names)
        −1 to 1; NaN stays empty.
    """
    count = len(names)
    side = max(WIDTH, 1.6 + 0.2 * count)
    with _settings():
        figure = Figure(figsize=(side, side), layout="constrained")
        axes = figure.subplots()
    rows, columns = np.tril_indices(count, -1)
    strength = np.asarray(values)[rows, columns]
    for chosen, colour, filled in ((strength > 0, _MAIN, True), (strength < 0, _AHEAD, False)):
        axes.scatter(
            columns[chosen], rows[chosen], s=110 * np.abs(strength[chosen]),
            facecolors=colour if filled else "none", edgecolors=colour, linewidths=0.9,
        )  # fmt: skip
    axes.set_xticks(range(count), names, rotation=90)
    axes.set_yticks(range(count), names)
    axes.set_xlim(-0.6, count - 0.4)
    axes.set_ylim(count - 0.4, -0.6)
    _dress(axes)
    return figure


def inline(figure: Figure, salt: str, label: str) -> Markup:
    """Return a figure as SVG for a page: deterministic, with the colours of the page and a label for screen readers.

    Parameters
    ----------
    figure : Figure
        Drawn with the colours of this module.
    salt : str
        Different for each plot of a page, so that no two elements share an id.
    label : str
        Label for screen readers.

    Returns
    -------
    Markup
        An `svg` element.
    """
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = _OWN_IDS.sub("", text[text.index("<svg") :])
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"#0[1-6]0[1-6]0[1-6]|" + "|".join(COLOURS), lambda match: _STYLE[match.group()], text)
    head = f'<svg role="img" aria-label="{escape(label)}" viewBox="\\1" {_NAMESPACES}>'
    text = re.sub(r'^<svg[^>]*viewBox="([^"]*)"[^>]*>', head, text, count=1)
    return Markup(text)  # noqa: S704 - drawn here; matplotlib escapes its labels


def live(figure: Figure, salt: str, label: str) -> Markup:
    """Return a figure of lines that answers the pointer; on paper and without scripts it is `inline`.

    Parameters
    ----------
    figure, salt, label
        As for `inline`.

    Returns
    -------
    Markup
        An element for a page that embeds `backtester.charts.page_head`.
    """
    return chart(figure, inline(figure, salt, label), _STYLE)


def _settings() -> Any:
    return mpl.rc_context({"font.size": 9, "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8})


def _curve(upper: Axes, lower: Axes, curve: pl.DataFrame, peak: float, colour: str, label: str) -> None:
    """Draw a curve above its drawdown, whose peak starts at `peak`."""
    value = curve["equity"].to_numpy()
    peaks = np.maximum.accumulate(np.concatenate([[peak], value]))[1:]
    upper.plot(curve["ts"], 100 * (value - 1), color=colour, linewidth=1.4, label=label)
    lower.fill_between(curve["ts"], 100 * (value - peaks), 0, color=colour, alpha=0.3, linewidth=0)
    lower.plot(curve["ts"], 100 * (value - peaks), color=colour, linewidth=0.6, label=label)


def _axes(height: float, ratios: Sequence[float]) -> tuple[Figure, list[Axes]]:
    with _settings():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        grid = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=list(ratios))
    axes: list[Axes] = list(grid[:, 0])
    for panel in axes:
        _dress(panel)
    return figure, axes


def _dress(axes: Axes) -> None:
    """Give axes the page's colours."""
    axes.grid(visible=True, color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_LINE)
    axes.tick_params(color=_LINE, labelcolor=_INK)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)


def _dates(axes: Axes) -> None:
    """Label times by hour within two days, else by day and month, UTC."""
    low, high = axes.get_xlim()  # in days
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=6))  # type: ignore[no-untyped-call]
    form = "%H:%M" if high - low <= _HOURLY_DAYS else "%-d %b"
    axes.xaxis.set_major_formatter(DateFormatter(form))  # type: ignore[no-untyped-call]
