"""Several backtests over one window as one HTML page: equity, correlation, differences, costs, when each earned.

Belongs here: a pure function from results to text. The page needs no network: styles and plots are inside it. Does not
belong here: comparing (`backtester.evaluation.comparison`), drawing that pages share (`backtester.page`), writing
files.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from backtester.evaluation.comparison import BLOCK_HOURS, CONFIDENCE, Comparison, HourlyResult
from backtester.page import MUTED, axes_of, html, live, svg
from features.array_types import FloatArray

COLOURS: Final = ("#1f4e79", "#c77700", "#2e7d32", "#7b5ea7", "#b3261e", "#00838f", "#5d4037", "#ad1457")
"""Of the lines, one each."""


def compare_page(
    results: Mapping[str, HourlyResult],
    comparison: Comparison,
    holding: FloatArray,
    *,
    parameters: Mapping[str, str],
    said: Sequence[str],
    window: str,
    notes: Sequence[str] = (),
) -> str:
    """Return several backtests over one window as an HTML page.

    Parameters
    ----------
    results : dict of str to HourlyResult
        By name.
    comparison : Comparison
        Of these results.
    holding : ndarray of shape (n_hours,)
        Equity of holding: the lanes of the first strategy, or the universe where there are books alone.
    parameters : dict of str to str
        What each ran with, by name.
    said : sequence of str
        What the differences say, a sentence each.
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
        "compare.html.j2",
        names=list(results),
        results=results,
        comparison=comparison,
        parameters=parameters,
        said=list(said),
        window=window,
        notes=list(notes),
        sure=CONFIDENCE,
        block=BLOCK_HOURS,
        equity_plot=live(_equity_figure(results, holding), "compare"),
        period_plot=svg(_period_figure(comparison), "periods"),
    )


def _equity_figure(results: Mapping[str, HourlyResult], holding: FloatArray) -> Figure:
    figure, (axes,) = axes_of(3.8)
    times = np.asarray(next(iter(results.values())).hours, dtype="datetime64[us]")
    for (name, pooled), colour in zip(results.items(), COLOURS, strict=False):
        axes.plot(times, 100.0 * (pooled.equity - 1.0), color=colour, linewidth=1.3, label=name)
    axes.plot(times, 100.0 * (holding - 1.0), color=MUTED, linewidth=1.0, linestyle="--", label="holding")
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set_ylabel("pooled PnL, % of capital")
    axes.legend(loc="best", ncols=2, frameon=False, fontsize="small")
    return figure


def _period_figure(comparison: Comparison) -> Figure:
    names = [name for name in comparison.periods.columns if name != "period"]
    places, width = np.arange(comparison.periods.height), 0.8 / len(names)
    figure, (axes,) = axes_of(3.0)
    for number, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        offset = (number - (len(names) - 1) / 2.0) * width
        axes.bar(places + offset, comparison.periods[name].to_numpy(), width, color=colour, label=name)
    axes.set_xticks(places, comparison.periods["period"].to_list(), fontsize="small")
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set_ylabel("PnL, % of capital")
    return figure
