"""Plots of Dagster's metadata.

Belongs here: pictures made from frames, the same bytes for the same data. Does not belong here: the page's pictures
(`pictures`), numbers that are not in the frame.
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
"""One colour for each of the top five, told apart also by those who see red and green alike."""
SHADES: Final = 256
"""Colours of a stored picture, shades of letters and maps among them; as many as a PNG with a palette can hold."""
_DARK: Final = 0.6
"""Correlation from which its cell is too dark for black letters."""


def equity_figure(equity: pl.DataFrame, names: Sequence[str]) -> Figure:
    """Return equity curves above their drawdowns.

    Parameters
    ----------
    equity : DataFrame
        Columns name, ts, equity (1 at the start).
    names : sequence of str
        Which curves, in the order of the legend; at most five.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for name, colour in zip(names, COLOURS, strict=False):
        curve = equity.filter(pl.col("name") == name).sort("ts")
        value = (curve["equity"] - 1) * 100
        fall = (curve["equity"] / curve["equity"].cum_max() - 1) * 100
        upper.plot(curve["ts"], value, color=colour, label=name, linewidth=1.4)
        lower.plot(curve["ts"], fall, color=colour, linewidth=1.0)
    upper.axhline(0, color="#888888", linewidth=0.8)
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

    Dagster keeps each in its history for good, and twice: in few colours it takes a third of the room. They are those
    that cover all of the picture's colours best, not its most frequent ones: of a map of correlations, whose colours
    are many and each of them rare, half turned grey with those.
    """
    drawn, kept = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80, metadata={"Software": None})
    with Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(SHADES, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(kept, "PNG", optimize=True)
    return f"![{title}](data:image/png;base64,{base64.b64encode(kept.getvalue()).decode()})"


def curve_names(equity: pl.DataFrame, ranking: pl.DataFrame, count: int) -> list[str]:
    """Return the names of the best-ranked that have a curve, best first."""
    having: set[Any] = set(equity["name"])
    return [name for name in ranking.sort("rank")["name"] if name in having][:count]
