"""Pictures of the report's page.

Belongs here: drawing frames as SVG, the same bytes for the same data. Does not belong here: pages (`page`), pictures in
Dagster's metadata (`plots`), numbers that are not in the frame.

Pictures are drawn as wide as a phone's screen, so that their letters can be read there; their colours are
names of the page's style sheet, so that they follow its light and dark.
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

from backtester.drift import LEAST_EFFECT

COLOURS: Final = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed")
"""One colour for each of the top five, told apart also by those who see red and green alike."""

WIDTH: Final = 5.0
"""Width of a picture in inches: 360 points, a phone's screen."""

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
"""Colours as drawn, and the names that stand for them in the page."""

_HOURLY_DAYS: Final = 2.5

_DASHES: Final[tuple[Any, ...]] = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)), (0, (8, 2)))
"""Lines are told apart without their colour, too."""

_NAMESPACES: Final = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'

_OWN_IDS: Final = re.compile(
    r' id="(?:figure|axes|patch|line2d|text|xtick|ytick|matplotlib\.axis|legend|[A-Z]\w+)_\d+"'
)


def curve_figure(equity: pl.DataFrame, forward: pl.DataFrame) -> Figure:
    """Return an equity curve above its drawdown, and what came after it.

    Parameters
    ----------
    equity : DataFrame
        ts, equity (1 at the start): the backtest.
    forward : DataFrame
        activated_at, ts, equity (1 at activation): one run of the forward ledger; may be empty. Drawn on from the
        backtest's level at activation; where that was before the backtest begins, the two meet at its beginning.
    """
    figure, (upper, lower) = _axes(2.7, (3, 1))
    exam = equity.sort("ts")
    _curve(upper, lower, exam, 1.0, _MAIN, "exam")
    if forward.height:
        ahead, peak = drawn_on(exam, forward)
        _curve(upper, lower, ahead, peak, _AHEAD, "forward")
        upper.legend(loc="best", fontsize=8, frameon=False, labelcolor=_INK)
    upper.axhline(0, color=_FAINT, linewidth=0.8)
    upper.set_ylabel("return, %")
    lower.set_ylabel("fall, %")
    _dates(lower)
    return figure


def drawn_on(exam: pl.DataFrame, forward: pl.DataFrame) -> tuple[pl.DataFrame, float]:
    """Return a forward curve on the level of its backtest, and the peak from which it may fall.

    Parameters
    ----------
    exam : DataFrame
        ts, equity, by time.
    forward : DataFrame
        activated_at, ts, equity (1 at activation), of one run.

    Returns
    -------
    DataFrame, float
        ts, equity, from the activation on; the largest value so far, that of the backtest before it included.
    """
    begun = forward.select(pl.col("activated_at").first().alias("ts"), pl.lit(1.0).alias("equity"))
    ahead = pl.concat([begun, forward.select("ts", "equity").sort("ts")])
    meet = pl.col("ts") <= max(ahead["ts"][0], exam["ts"][0])
    before = exam.filter(pl.col("ts") <= ahead["ts"][0])["equity"].to_list()
    scale = exam.filter(meet)["equity"][-1] / ahead.filter(meet)["equity"][-1]
    return ahead.with_columns(pl.col("equity") * scale), max([scale, *before])


def lines_figure(equity: pl.DataFrame, names: Sequence[str]) -> Figure:
    """Return several equity curves, with their names below.

    Parameters
    ----------
    equity : DataFrame
        name, ts, equity.
    names : sequence of str
        Which curves, in the order of the legend; at most five.
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
    """Return what each model knows more than its baseline, with its interval, the best first.

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
    """Return by how much each is worse than promised, with its interval, what drifts first.

    Parameters
    ----------
    tests : DataFrame
        name, metric, decision, promise, promise_se, difference, low, high: the night's tests that were decided, in the
        order of the picture.
    """
    rows = tests.reverse().to_dicts()
    figure, (axes,) = _axes(0.8 + 0.19 * len(rows), (1,))
    for place, row in enumerate(rows):
        scale = max(abs(row["promise"]), row["promise_se"])
        drifts = row["decision"] == "drift"
        colour = _LOSS if drifts else _FAINT
        axes.plot([row["low"] / scale, row["high"] / scale], [place, place], color=colour, linewidth=1.2)
        filled = colour if drifts else "none"
        axes.plot([row["difference"] / scale], [place], "o", markersize=4, color=colour, markerfacecolor=filled)
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.axvline(LEAST_EFFECT, color=_INK, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_yticks(range(len(rows)), [f"{row['name']}, {row['metric']}".replace("_", " ") for row in rows])
    axes.set_xlabel("worse than promised, in promises")
    return figure


def correlation_figure(names: Sequence[str], values: Any) -> Figure:
    """Return a matrix of correlations: filled circles are positive, open ones negative, size is strength.

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
    """Return a figure as SVG that can stand in a page: without anything that varies, named for those who do not see it.

    Parameters
    ----------
    figure : Figure
        Drawn with the colours of this module.
    salt : str
        Different for each picture of a page, so that no two elements share an id.
    label : str
        What a screen reader says.
    """
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = _OWN_IDS.sub("", text[text.index("<svg") :])
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"#0[1-6]0[1-6]0[1-6]|" + "|".join(COLOURS), lambda found: _STYLE[found.group()], text)
    head = f'<svg role="img" aria-label="{escape(label)}" viewBox="\\1" {_NAMESPACES}>'
    text = re.sub(r'^<svg[^>]*viewBox="([^"]*)"[^>]*>', head, text, count=1)
    return Markup(text)  # noqa: S704 - drawn here; matplotlib escapes its labels


def _settings() -> Any:
    return mpl.rc_context({"font.size": 9, "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8})


def _curve(upper: Axes, lower: Axes, curve: pl.DataFrame, peak: float, colour: str, label: str) -> None:
    """Draw a curve above its fall from the largest value so far, which begins at `peak`."""
    value = curve["equity"].to_numpy()
    peaks = np.maximum.accumulate(np.concatenate([[peak], value]))[1:]
    upper.plot(curve["ts"], 100 * (value - 1), color=colour, linewidth=1.4, label=label)
    lower.fill_between(curve["ts"], 100 * (value / peaks - 1), 0, color=colour, alpha=0.3, linewidth=0)


def _axes(height: float, ratios: Sequence[float]) -> tuple[Figure, list[Axes]]:
    with _settings():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        grid = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=list(ratios))
    axes: list[Axes] = list(grid[:, 0])
    for each in axes:
        _dress(each)
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
    """Name times by hour within two days, else by day and month, UTC."""
    low, high = axes.get_xlim()  # in days
    axes.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=6))  # type: ignore[no-untyped-call]
    form = "%H:%M" if high - low <= _HOURLY_DAYS else "%-d %b"
    axes.xaxis.set_major_formatter(DateFormatter(form))  # type: ignore[no-untyped-call]
