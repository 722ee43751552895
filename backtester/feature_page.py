"""The tear sheet of a feature, or of a group, as one HTML page: coefficients, the quantile book, values, likeness.

Belongs here: a pure function from sheets to text. The page needs no network: styles and plots are inside it. Does not
belong here: measuring (`backtester.evaluation.feature_sheet`), drawing that pages share (`backtester.page`), writing
files.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from backtester.evaluation.feature_sheet import FeatureSheet
from backtester.page import GAIN, INK, LOSS, MUTED, axes_of, html, svg
from features.array_types import FloatArray

SHOWN: Final = 20
"""Features of the standard set in the table, the most alike first."""
_FAR, _DARK = 5.0, 3.5
"""|t| at the ends of the colours, and from which they are dark."""


def feature_page(
    title: str,
    sheet: FeatureSheet,
    like: pl.DataFrame,
    *,
    about: str,
    said: Sequence[str],
    window: str,
    notes: Sequence[str] = (),
) -> str:
    """Return the tear sheet of a feature as an HTML page.

    Parameters
    ----------
    title : str
        Its name, or that of the file with its text.
    sheet : FeatureSheet
        What was measured.
    like : DataFrame
        `name`, `correlation` with other features, the most alike first.
    about : str
        What it is: its description, or its text.
    said : sequence of str
        What the sheet says, a sentence each.
    window : str
        What was run on: window, symbols, market.
    notes : sequence of str
        Lines printed below the title.

    Returns
    -------
    str
        HTML that needs no network.

    Notes
    -----
    The same input gives the same text, byte for byte.
    """
    return html(
        "feature.html.j2",
        title=title,
        about=about,
        sheet=sheet,
        said=list(said),
        window=window,
        notes=list(notes),
        best=sheet.strongest,
        horizons=sheet.horizons.rows(named=True),
        quarters=sheet.quarters.rows(named=True),
        symbols=sheet.symbols.sort("ic", "symbol", descending=[True, False], nulls_last=True).rows(named=True),
        distribution=sheet.distribution.rows(named=True),
        like=like.drop_nulls().head(SHOWN).rows(named=True),
        decay_plot=svg(_decay_figure([sheet]), "decay"),
        group_plot=svg(_group_figure(sheet), "groups"),
        book_plot=svg(_book_figure(sheet), "book"),
        value_plot=svg(_value_figure(sheet), "values"),
        memory_plot=svg(_memory_figure(sheet), "memory"),
    )


def group_page(
    title: str,
    sheets: Sequence[FeatureSheet],
    matrix: Mapping[str, Mapping[str, float | None]],
    *,
    said: Sequence[str],
    window: str,
    notes: Sequence[str] = (),
) -> str:
    """Return the tear sheets of a group of features as an HTML page.

    Parameters
    ----------
    title : str
        Of the group.
    sheets : sequence of FeatureSheet
        At least one, all over the same horizons.
    matrix : dict of str to dict of str to float
        Rank correlations between the features, by name.
    said : sequence of str
        What the sheets say, a sentence each.
    window : str
        What was run on: window, symbols, market.
    notes : sequence of str
        Lines printed below the title.

    Returns
    -------
    str
        HTML that needs no network.

    Notes
    -----
    The same input gives the same text, byte for byte.
    """
    names = [sheet.name for sheet in sheets]
    main = sheets[0].main
    rows = [sheet.horizons.filter(pl.col("horizon") == main).row(0, named=True) for sheet in sheets]
    table = np.array([[_number(matrix[one].get(two)) for two in names] for one in names])
    return html(
        "features.html.j2",
        title=title,
        main=main,
        sheets=list(zip(sheets, rows, strict=True)),
        said=list(said),
        window=window,
        notes=list(notes),
        map_plot=svg(_map_figure(sheets), "map"),
        like_plot=svg(_like_figure(names, table), "like"),
    )


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _array(frame: pl.DataFrame, name: str) -> FloatArray:
    array: FloatArray = frame[name].cast(pl.Float64).to_numpy()
    return array


def _ticks(frame: pl.DataFrame) -> tuple[FloatArray, list[str]]:
    horizons = frame["horizon"].to_list()
    return np.arange(len(horizons), dtype=np.float64), [str(each) for each in horizons]


def _decay_figure(sheets: Sequence[FeatureSheet]) -> Figure:
    figure, (axes,) = axes_of(3.2)
    for sheet in sheets:
        places, labels = _ticks(sheet.horizons)
        ic, error = (_array(sheet.horizons, name) for name in ("ic", "ic_se"))
        axes.errorbar(places, ic, yerr=2.0 * error, fmt="o-", color=INK, ecolor=MUTED, capsize=4, linewidth=1.2)
        axes.set_xticks(places, labels)
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set_xlabel("horizon, bars")
    axes.set_ylabel("information coefficient")
    return figure


def _group_figure(sheet: FeatureSheet) -> Figure:
    """Draw what each group earned over each horizon, less the mean of all."""
    figure, (axes,) = axes_of(3.2)
    axes.set_axisbelow(True)
    horizons = sheet.groups["horizon"].unique(maintain_order=True).to_list()
    width = 0.8 / sheet.quantiles
    shades = np.linspace(-1.0, 1.0, sheet.quantiles)
    for place in range(sheet.quantiles):
        own = _array(sheet.groups.filter(pl.col("quantile") == place + 1), "day_pct")
        offset = (place - (sheet.quantiles - 1) / 2.0) * width
        colour, alpha = (INK if shades[place] >= 0.0 else LOSS), 0.25 + 0.65 * abs(float(shades[place]))
        label = "lowest values" if place == 0 else "highest values" if place == sheet.quantiles - 1 else None
        axes.bar(np.arange(len(horizons)) + offset, own, width, color=colour, alpha=alpha, label=label)
    axes.set_xticks(np.arange(len(horizons)), [str(each) for each in horizons])
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set_xlabel("horizon, bars")
    axes.set_ylabel("% a day")
    axes.legend(loc="best", ncols=2, frameon=False, fontsize="small")
    return figure


def _book_figure(sheet: FeatureSheet) -> Figure:
    figure, (axes,) = axes_of(3.2)
    axes.set_axisbelow(True)
    places, labels = _ticks(sheet.horizons)
    gross, funding, net, error = (
        _array(sheet.horizons, name) for name in ("gross_pct", "funding_pct", "net_pct", "net_se")
    )
    axes.bar(places - 0.2, gross - funding, 0.4, color=MUTED, label="before fees and slippage")
    axes.bar(places + 0.2, net, 0.4, color=np.where(net >= 0.0, GAIN, LOSS).tolist(), label="net")
    axes.errorbar(places + 0.2, net, yerr=2.0 * error, fmt="none", ecolor=INK, linewidth=1.0, capsize=3)
    axes.set_xticks(places, labels)
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set_xlabel("horizon, bars")
    axes.set_ylabel("% of one leg a day")
    axes.legend(loc="best", ncols=2, frameon=False, fontsize="small")
    return figure


def _value_figure(sheet: FeatureSheet) -> Figure:
    counts, edges = sheet.histogram
    figure, (axes,) = axes_of(2.6)
    axes.set_axisbelow(True)
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=INK, alpha=0.7)
    axes.set_xlabel("value, first to 99th percentile")
    axes.set_ylabel("bars")
    return figure


def _memory_figure(sheet: FeatureSheet) -> Figure:
    figure, (axes,) = axes_of(2.4)
    frame = sheet.autocorrelation
    places = np.arange(frame.height)
    mean, low, high = (_array(frame, name) for name in ("mean", "low", "high"))
    axes.vlines(places, low, high, color=MUTED, linewidth=4.0, alpha=0.6, label="over the symbols")
    axes.plot(places, mean, "o-", color=INK, linewidth=1.2, label="mean")
    axes.set_xticks(places, [str(lag) for lag in frame["lag"]])
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set_xlabel("lag, bars")
    axes.set_ylabel("autocorrelation")
    axes.legend(loc="best", ncols=2, frameon=False, fontsize="small")
    return figure


def _map_figure(sheets: Sequence[FeatureSheet]) -> Figure:
    """Draw t of each feature over each horizon."""
    table = np.array([_array(sheet.horizons, "t") for sheet in sheets])
    _, labels = _ticks(sheets[0].horizons)
    figure = Figure(figsize=(10.0, 1.2 + 0.28 * len(sheets)), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(table, aspect="auto", interpolation="nearest", cmap="RdBu", vmin=-_FAR, vmax=_FAR)
    for (row, column), value in np.ndenumerate(table):
        if not np.isnan(value):
            colour = "white" if abs(value) > _DARK else "black"
            axes.text(column, row, f"{value:+.1f}", ha="center", va="center", fontsize="small", color=colour)
    axes.set_xticks(np.arange(len(labels)), labels)
    axes.set_yticks(np.arange(len(sheets)), [sheet.name for sheet in sheets], fontsize="small")
    axes.set_xlabel("horizon, bars")
    figure.colorbar(drawn, ax=axes, label="t", fraction=0.03, pad=0.01)
    return figure


def _like_figure(names: Sequence[str], table: FloatArray) -> Figure:
    figure = Figure(figsize=(10.0, 2.2 + 0.28 * len(names)), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(table, aspect="auto", interpolation="nearest", cmap="RdBu", vmin=-1.0, vmax=1.0)
    axes.set_xticks(np.arange(len(names)), list(names), rotation=60, ha="right", fontsize="small")
    axes.set_yticks(np.arange(len(names)), list(names), fontsize="small")
    figure.colorbar(drawn, ax=axes, label="rank correlation", fraction=0.03, pad=0.01)
    return figure
