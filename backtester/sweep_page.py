"""One sweep of parameters as one HTML page: heat maps, the plateau around the best, how much of it is luck, a table.

Belongs here: a pure function from points to text. The page needs no network: styles and plots are inside it. Does not
belong here: running the points (`strategies.search.sweep`), the plateau (`backtester.statistics.plateau`), drawing that
pages share (`backtester.page`), writing files.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backtester.page import INK, LOSS, MUTED, axes_of, html, number, percent, share, svg
from backtester.statistics.overfitting import SharpeEvidence
from backtester.statistics.plateau import Plateau
from features.array_types import FloatArray

MOST_PAIRS: Final = 6
"""Pairs of parameters that are drawn; the first ones in the order of the command."""
SHOWN: Final = 20
"""Points in the table, the highest Sharpe ratio first."""


def sweep_page(
    name: str,
    points: pl.DataFrame,
    moving: Sequence[str],
    *,
    best: int | None,
    plateau: Plateau | None,
    sharpe: SharpeEvidence | None,
    whole_grid: bool,
    said: Sequence[str],
    window: str,
    notes: Sequence[str] = (),
) -> str:
    """Return a sweep as an HTML page.

    Parameters
    ----------
    name : str
        The strategy.
    points : DataFrame of n_points rows
        The frame of `strategies.search.sweep.Swept`.
    moving : sequence of str
        Parameters with several values, at least one.
    best : int, optional
        Row of the best point; null where there is none.
    plateau : Plateau, optional
        Its neighbours.
    sharpe : SharpeEvidence, optional
        Of the best, deflated.
    whole_grid : bool
        Whether every combination of the values was run, so that a slice through the best can be drawn.
    said : sequence of str
        The verdict, a sentence each.
    window : str
        What was run: window, lanes, market.
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
    metrics = [column for column in points.columns if column not in {*moving, "version"}]
    told = [column for column in metrics if column in _HEADINGS]
    order = points.with_row_index("row").sort("sharpe", "row", descending=[True, False], nulls_last=True)
    value = float(points["sharpe"][best]) if best is not None else None
    error = float(points["sharpe_se"][best]) if best is not None else None
    return html(
        "sweep.html.j2",
        name=name,
        window=window,
        notes=list(notes),
        said=list(said),
        tried=len(points),
        best=value,
        error=error,
        best_values={each: points[each][best] for each in moving} if best is not None else {},
        plateau=plateau,
        sharpe=sharpe,
        plots=_plots(points, moving, best, whole_grid=whole_grid),
        moving=list(moving),
        headings=[_HEADINGS[column] for column in told],
        rows=[
            ([f"{row[each]:g}" for each in moving], [_cell(column, row[column]) for column in told])
            for row in order.head(SHOWN).rows(named=True)
        ],
        spread=svg(_spread_figure(points, best), "spread"),
    )


_HEADINGS: Final = {
    "sharpe": "Sharpe",
    "sharpe_se": "± SE",
    "score": "score",
    "trades": "trades",
    "win_rate": "win rate",
    "avg_pnl_pct": "average trade",
    "total_pnl_pct": "total",
    "max_drawdown": "drawdown",
}
"""Headings of the metrics of a point."""


def _cell(column: str, value: float | None) -> str:
    if column == "trades":
        return number(value, 0)
    if column in {"win_rate", "max_drawdown"}:
        return share(value)
    if column.endswith("_pct"):
        return percent(value, 3 if column == "avg_pnl_pct" else 2)
    return number(value)


def _plots(
    points: pl.DataFrame, moving: Sequence[str], best: int | None, *, whole_grid: bool
) -> list[tuple[str, object]]:
    if len(moving) == 1:
        return [(moving[0], svg(_line_figure(points, moving[0], best), moving[0]))]
    pairs = list(combinations(moving, 2))[:MOST_PAIRS]
    draw = _maps_figure if whole_grid else _scatter_figure
    return [(f"{one} and {two}", svg(draw(points, one, two, moving, best), f"{one}{two}")) for one, two in pairs]


def _line_figure(points: pl.DataFrame, name: str, best: int | None) -> Figure:
    ordered = points.sort(name)
    x, y = ordered[name].to_numpy(), ordered["sharpe"].cast(pl.Float64).to_numpy()
    error = ordered["sharpe_se"].cast(pl.Float64).to_numpy()
    figure, (axes,) = axes_of(3.4)
    axes.fill_between(x, y - error, y + error, color=INK, alpha=0.15, linewidth=0.0, label="± one standard error")
    axes.plot(x, y, "o-", color=INK, markersize=3, linewidth=1.2)
    if best is not None:
        axes.plot(points[name][best], points["sharpe"][best], "o", color=LOSS, label="best")
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set_xlabel(name)
    axes.set_ylabel("Sharpe ratio a year")
    axes.legend(loc="best", ncols=2, frameon=False, fontsize="small")
    return figure


def _maps_figure(points: pl.DataFrame, one: str, two: str, moving: Sequence[str], best: int | None) -> Figure:
    """Draw the slice through the best and, with further parameters, the median over all their values."""
    others = [each for each in moving if each not in {one, two}]
    panels = []
    if best is not None:
        same = points.filter(*(pl.col(each) == points[each][best] for each in others))
        panels.append(("others as at the best" if others else "", same))
    if others or best is None:
        panels.append(("median over all others", points))
    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    largest = _largest(points)
    drawn = None
    for axes, (title, frame) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        table, xs, ys = _table(frame, one, two)
        drawn = axes.imshow(
            table, aspect="auto", origin="lower", interpolation="nearest", cmap="RdBu", vmin=-largest, vmax=largest
        )
        _ticks(axes, one, two, xs, ys)
        if best is not None:
            place = xs.index(points[one][best]), ys.index(points[two][best])
            axes.plot(*place, marker="o", markersize=9, markerfacecolor="none", markeredgecolor="black")
        axes.set_title(title, fontsize="small")
    if drawn is not None:
        figure.colorbar(drawn, ax=figure.axes, label="Sharpe ratio a year", fraction=0.03, pad=0.01)
    return figure


def _scatter_figure(points: pl.DataFrame, one: str, two: str, _: Sequence[str], best: int | None) -> Figure:
    known = points.filter(pl.col("sharpe").is_not_null()).sort("sharpe", maintain_order=True)
    figure, (axes,) = axes_of(4.0)
    largest = _largest(points)
    drawn = axes.scatter(
        known[one].to_numpy(), known[two].to_numpy(), c=known["sharpe"].to_numpy(), cmap="RdBu", vmin=-largest,
        vmax=largest, s=22, edgecolors=MUTED, linewidths=0.3,
    )  # fmt: skip
    if best is not None:
        axes.plot(points[one][best], points[two][best], "o", markersize=10, markerfacecolor="none", color="black")
    axes.set_xlabel(one)
    axes.set_ylabel(two)
    figure.colorbar(drawn, ax=axes, label="Sharpe ratio a year", fraction=0.03, pad=0.01)
    return figure


def _spread_figure(points: pl.DataFrame, best: int | None) -> Figure:
    """Draw how often each Sharpe ratio came."""
    values = points["sharpe"].drop_nulls().to_numpy()
    figure, (axes,) = axes_of(2.4)
    if len(values):
        axes.hist(values, bins=min(50, max(5, len(values) // 4)), color=INK, alpha=0.7)
    if best is not None:
        axes.axvline(points["sharpe"][best], color=LOSS, linewidth=1.2, label="best")
        axes.legend(loc="best", frameon=False, fontsize="small")
    axes.axvline(0.0, color=MUTED, linewidth=0.8)
    axes.set_xlabel("Sharpe ratio a year")
    axes.set_ylabel("points")
    return figure


def _table(frame: pl.DataFrame, one: str, two: str) -> tuple[FloatArray, list[float], list[float]]:
    """Return the median ratio by the value of `two` (rows) and of `one` (columns); NaN where nothing was measured."""
    xs, ys = (frame[each].unique().sort().to_list() for each in (one, two))
    table = np.full((len(ys), len(xs)), np.nan)
    columns, rows = ({value: place for place, value in enumerate(each)} for each in (xs, ys))
    for x, y, value in frame.group_by(one, two).agg(pl.col("sharpe").median()).rows():
        table[rows[y], columns[x]] = np.nan if value is None else value
    return table, xs, ys


def _ticks(axes: Axes, one: str, two: str, xs: list[float], ys: list[float]) -> None:
    axes.grid(visible=False)
    for places, set_ticks, set_label, name in (
        (xs, axes.set_xticks, axes.set_xlabel, one),
        (ys, axes.set_yticks, axes.set_ylabel, two),
    ):
        chosen = np.unique(np.linspace(0, len(places) - 1, min(8, len(places))).astype(np.int64))
        set_ticks(chosen, [f"{places[place]:g}" for place in chosen])
        set_label(name)


def _largest(points: pl.DataFrame) -> float:
    values = points["sharpe"].drop_nulls().abs()
    return float(values.quantile(0.99) or 1.0) if len(values) else 1.0
