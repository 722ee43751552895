"""A walk forward as one HTML page: the joined tests, how far training results lasted, and a table of the windows.

Belongs here: a pure function from windows to text. The page needs no network: styles and plots are inside it. Does not
belong here: tuning and running (`strategies.search.walk_forward`), drawing that pages share (`backtester.page`),
writing files.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from backtester.page import INK, LOSS, MUTED, axes_of, html, live, svg
from backtester.statistics.metrics import HOURS_PER_YEAR
from backtester.statistics.overfitting import SharpeEvidence
from features.array_types import FloatArray, IntArray


def walk_page(
    name: str,
    windows: pl.DataFrame,
    hours: IntArray,
    curves: Sequence[tuple[str, FloatArray]],
    *,
    sharpe: SharpeEvidence,
    lasted: Sequence[str],
    window: str,
    notes: Sequence[str] = (),
) -> str:
    """Return a walk forward as an HTML page.

    Parameters
    ----------
    name : str
        The strategy.
    windows : DataFrame of n_windows rows
        `start`, `end` (of the test), `parameters` (text), and of training and test `train_sharpe`, `train_day_pct`,
        `test_sharpe`, `test_se`, `test_pct`, `test_day_pct`, `trades`, `written_pct`.
    hours : ndarray of shape (n_hours,), int64
        Full hours of the joined tests, microseconds since 1970.
    curves : sequence of (str, ndarray of shape (n_hours,))
        Name and equity of each line, starting capital = 1; the first is the walk's own.
    sharpe : SharpeEvidence
        Of the joined tests.
    lasted : sequence of str
        How far training results lasted, a sentence each.
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
    return html(
        "walk.html.j2",
        name=name,
        window=window,
        notes=list(notes),
        lasted=list(lasted),
        sharpe=sharpe,
        year=HOURS_PER_YEAR**0.5,
        total=100.0 * float(curves[0][1][-1] - 1.0),
        windows=windows.rows(named=True),
        equity_plot=live(_equity_figure(windows, hours, curves), "walk"),
        lasting_plot=svg(_lasting_figure(windows), "lasting"),
    )


def _equity_figure(windows: pl.DataFrame, hours: IntArray, curves: Sequence[tuple[str, FloatArray]]) -> Figure:
    times = np.asarray(hours, dtype="datetime64[us]")
    figure, (axes,) = axes_of(3.8)
    for (label, curve), colour, width in zip(curves, (INK, MUTED, LOSS), (1.5, 1.0, 1.0), strict=False):
        axes.plot(times, 100.0 * (curve - 1.0), color=colour, linewidth=width, label=label)
    starts = np.asarray(windows["start"].dt.epoch("us").to_numpy(), dtype="datetime64[us]")
    axes.plot(
        np.repeat(starts, 3),
        np.tile([0.0, 1.0, np.nan], len(starts)),
        color=MUTED,
        linewidth=0.5,
        linestyle=":",
        transform=axes.get_xaxis_transform(),
    )
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set_ylabel("pooled PnL, % of capital")
    axes.legend(loc="best", frameon=False, fontsize="small")
    return figure


def _lasting_figure(windows: pl.DataFrame) -> Figure:
    """Draw the ratio in training beside that in the test, window by window."""
    places = np.arange(len(windows))
    figure, (axes,) = axes_of(3.2)
    train = windows["train_sharpe"].cast(pl.Float64).to_numpy()
    test = windows["test_sharpe"].cast(pl.Float64).to_numpy()
    axes.bar(places - 0.2, train, 0.4, color=MUTED, label="in training")
    axes.bar(places + 0.2, test, 0.4, color=INK, label="in the test after it")
    axes.errorbar(
        places + 0.2, test, yerr=windows["test_se"].cast(pl.Float64).to_numpy(), fmt="none", ecolor=LOSS, linewidth=1.0
    )
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    shown = np.unique(np.linspace(0, len(places) - 1, min(12, len(places))).astype(np.int64))
    axes.set_xticks(shown, [f"{windows['start'][int(place)]:%Y-%m-%d}" for place in shown], fontsize="small")
    axes.set_ylabel("Sharpe ratio a year")
    axes.legend(loc="best", ncols=2, frameon=False, fontsize="small")
    return figure
