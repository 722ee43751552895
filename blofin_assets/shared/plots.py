"""Plots for Dagster's metadata, and the colours of all plots.

Belongs here: plots of frames, with the same bytes for the same data. Does not belong here: plots of the report
(`blofin_assets.reporting.pictures`), of one model (`blofin_assets.ml_cycle.plots`), computing numbers.
"""

import base64
import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.figure import Figure
from PIL import Image

COLOURS: Final = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed")
"""One colour for each of the top five, distinguishable with red-green colour blindness."""
GREY: Final = "#888888"
"""Colour of reference lines: zero, the diagonal."""
SHADES: Final = 256
"""Number of colours of a stored plot: the largest palette of a PNG."""
_DARK: Final = 0.6
"""Correlation from which a cell is too dark for black text."""


def equity_figure(equity: pl.DataFrame, names: Sequence[str]) -> Figure:
    """Return equity curves above their drawdowns.

    Parameters
    ----------
    equity : DataFrame
        Columns name, ts, equity (1 at the start).
    names : sequence of str
        Curves to plot, in the order of the legend; at most five.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for name, colour in zip(names, COLOURS, strict=False):
        curve = equity.filter(pl.col("name") == name).sort("ts")
        value = (curve["equity"] - 1) * 100
        fall = (curve["equity"] - curve["equity"].cum_max()) * 100
        upper.plot(curve["ts"], value, color=colour, label=name, linewidth=1.4)
        lower.plot(curve["ts"], fall, color=colour, label=name, linewidth=1.0)
    upper.axhline(0, color=GREY, linewidth=0.8)
    upper.set_ylabel("return after costs, %")
    upper.legend(loc="upper left", fontsize=8, frameon=False)
    lower.set_ylabel("drawdown, %")
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.autofmt_xdate(rotation=0, ha="center")
    return figure


def correlation_figure(names: Sequence[str], correlation: npt.NDArray[np.float64]) -> Figure:
    """Return a matrix of correlations as coloured squares with their numbers; empty where unknown.

    Parameters
    ----------
    names : sequence of str
        Rows and columns.
    correlation : ndarray of shape (n_names, n_names)
        In [-1, 1]; NaN where unknown.
    """
    side = 2.5 + 0.4 * len(names)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(correlation, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    for (row, column), value in np.ndenumerate(correlation):
        if not np.isnan(value):
            ink = "white" if abs(value) > _DARK else "black"
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=6, color=ink)
    figure.colorbar(image, shrink=0.7)
    return figure


def markdown_png(figure: Figure, title: str) -> str:
    """Return a figure as a Markdown image for Dagster's metadata, data included.

    Dagster keeps each image in its history for ever, and twice; with a palette it takes a third of the space. The
    palette covers the range of colours rather than the most frequent ones, which would turn half of a correlation map
    grey, because its colours are many and each is rare.
    """
    drawn, kept = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80, metadata={"Software": None})
    with Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(SHADES, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(kept, "PNG", optimize=True)
    return f"![{title}](data:image/png;base64,{base64.b64encode(kept.getvalue()).decode()})"


def curve_names(equity: pl.DataFrame, ranking: pl.DataFrame, count: int) -> list[str]:
    """Return the names of the best-ranked that have an equity curve, best first.

    Parameters
    ----------
    equity : DataFrame
        Curves with a column `name`.
    ranking : DataFrame
        Rows in order of ranks.
    count : int
        Largest number of names.

    Returns
    -------
    list of str
        At most `count` names.
    """
    having: set[Any] = set(equity["name"])
    return [name for name in ranking.sort("rank")["name"] if name in having][:count]
