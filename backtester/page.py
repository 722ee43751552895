"""One backtest as one HTML page: equity, drawdown, trades on the price, costs, and every number with its name.

Belongs here: a pure function from results to text, and the drawing that pages share. The page needs no network: styles
and plots are inside it. Does not belong here: the page of a book (`backtester.book_page`), writing files, the daily
report, running anything.
"""

import io
import math
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from backtester.charts import chart, page_head, seen_of, stackable
from backtester.evaluation.breakdown import BAND, DRAWS, TREND, UNREST, Breakdown
from backtester.evaluation.evaluate import Evaluation
from backtester.evaluation.pooling import FEW_TRADES, PooledResult
from backtester.evaluation.robustness import Evidence
from backtester.evaluation.standard_metrics import Metric, Unit, figures
from backtester.evaluation.tear_sheet import ROLLING, TearSheet
from backtester.simulation.lanes import LaneResult, thin_lanes
from backtester.statistics.overfitting import SharpeEvidence

MOST_TRADES: Final = 200
"""Trades in the table, the newest first; more are for files."""
MOST_LANES: Final = 6
"""Lanes whose trades are drawn, those with the most trades first."""

INK, GAIN, LOSS, MUTED = "#1f4e79", "#2e7d32", "#b3261e", "#8a8f98"


def backtest_page(
    evaluation: Evaluation,
    candles: pl.DataFrame,
    *,
    evidence: Evidence | None = None,
    sharpe: SharpeEvidence | None = None,
    parts: Breakdown | None = None,
    market: str = "",
    idea: str = "",
    notes: Sequence[str] = (),
) -> str:
    """Return a backtest as an HTML page.

    Parameters
    ----------
    evaluation : Evaluation
        Evaluated with trades.
    candles : DataFrame
        `symbol`, `ts`, `close` (and `timeframe`, where there are several) of the window, for the price behind the
        trades. A symbol without candles gets no price plot.
    evidence : Evidence, optional
        Robustness of the evaluation.
    sharpe : SharpeEvidence, optional
        Deflated Sharpe ratio and related statistics.
    parts : Breakdown, optional
        The result by month, quarter, session, regime and symbol, its rolling ratio and worst drawdowns, the equity of
        holding, and the band of drawdowns.
    market : str
        Where the candles came from, e.g. `sample (synthetic)`; printed under the title.
    idea : str
        What the strategy does and why, in a paragraph.
    notes : sequence of str
        Lines printed below it.

    Returns
    -------
    str
        HTML that needs no network.

    Raises
    ------
    ValueError
        If the evaluation failed.

    Notes
    -----
    The same input gives the same text, byte for byte.
    """
    pooled = evaluation.pooled
    if pooled is None:
        msg = f"{evaluation.name} has no result to show: its evaluation failed with {evaluation.error}"
        raise ValueError(msg)
    drawn = sorted((lane for lane in evaluation.scored if lane.trades), key=lambda lane: -lane.trades)[:MOST_LANES]
    trades = evaluation.scored_trades.sort("exit_ts", "entry_ts", "symbol", "timeframe")
    return html(
        "backtest.html.j2",
        name=evaluation.name,
        version=evaluation.version,
        parameters=evaluation.parameters,
        market=market,
        idea=idea,
        notes=list(notes),
        **trade_values(trades),
        pooled=pooled,
        figures=list(figures(pooled, _text)),
        few=FEW_TRADES,
        costs=evaluation.costs,
        lanes=evaluation.lanes,
        thin=thin_lanes(evaluation.lanes),
        evidence=evidence,
        sharpe=sharpe,
        parts=parts,
        orders=DRAWS,
        most=BAND[-1] - BAND[0],
        tables=_tables(parts),
        **({} if parts is None else sheet_values(parts.sheet, compounded=False)),
        equity_plot=live(_equity_figure(pooled, parts), "equity"),
        cost_plot=svg(_cost_figure(evaluation.scored), "costs"),
        trade_plots=[
            (f"{lane.symbol} {lane.timeframe}", svg(figure, f"{lane.symbol}{lane.timeframe}"))
            for lane in drawn
            if (figure := _trades_figure(lane, evaluation.trades, candles)) is not None
        ],
        reasons=evaluation.trades.filter(pl.col("timeframe").is_in(list(evaluation.timeframes)))
        .group_by("exit_reason")
        .len()
        .sort("len", "exit_reason", descending=[True, False])
        .rows(),
    )


def html(template: str, **values: Any) -> str:
    """Return a template of this package filled with values, which are escaped."""
    environment = Environment(
        loader=PackageLoader("backtester"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, share=share, percent=percent, cost=_cost)
    return stackable(environment.get_template(template).render(page_head=page_head(), **values))


def _text(metric: Metric, value: float | None) -> str:
    """Write a value of a metric by its unit."""
    if metric.unit == Unit.COUNT:
        return str(value)
    write = {Unit.FRACTION: share, Unit.PERCENT: percent}.get(metric.unit, number)
    return write(value, metric.digits)


def number(value: float | None, digits: int = 2) -> str:
    """Write a number; a dash where it is unknown."""
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 2) -> str:
    """Write percent with their sign; a dash where they are unknown."""
    return "–" if value is None else f"{value:+.{digits}f} %"


def share(value: float | None, digits: int = 1) -> str:
    """Write a fraction as percent; a dash where it is unknown."""
    return "–" if value is None else f"{100.0 * value:.{digits}f} %"


def _cost(value: float | None) -> str:
    """Write a rate a side in basis points."""
    if value is None:
        return "none: below zero without it"
    return "above 500 bp" if math.isinf(value) else f"{1e4 * value:.1f} bp"


def axes_of(height: float, rows: int = 1, ratios: Sequence[float] | None = None) -> tuple[Figure, list[Axes]]:
    """Return an empty figure.

    Parameters
    ----------
    height : float
        In inches.
    rows : int
        How many axes it has, one below the other, with one axis of times.
    ratios : sequence of float, optional
        Their heights relative to each other; equal where omitted.

    Returns
    -------
    tuple of Figure and list of Axes
        The axes from the top down.
    """
    figure = Figure(figsize=(10.0, height), layout="constrained")
    grid = figure.subplots(rows, 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios or [1.0] * rows})
    axes: list[Axes] = list(grid[:, 0])
    for axis in axes:
        axis.grid(visible=True, color="#e6e8eb", linewidth=0.6)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure, axes


def svg(figure: Figure, salt: str) -> Markup:
    """Return a figure as inline SVG without a date or random ids; `salt` keeps the ids of a page's figures apart."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return Markup(f'<div class="plot">{drawn[drawn.index("<svg") :]}</div>')  # noqa: S704 - matplotlib escapes labels


def live(figure: Figure, salt: str) -> Markup:
    """Return a figure of lines that answers the pointer; on paper and without scripts it is `svg`."""
    return chart(figure, svg(figure, salt))


def trade_values(trades: pl.DataFrame) -> dict[str, Any]:
    """Return what a page says of trades, oldest first: the newest `MOST_TRADES`, and the heading of their table."""
    shown = trades.tail(MOST_TRADES).reverse()
    told = f"The last {shown.height} of" if shown.height < trades.height else "All"
    return {"trades": shown.rows(named=True), "trade_heading": f"{told} {trades.height:,} trades"}


def sheet_values(sheet: TearSheet, *, compounded: bool) -> dict[str, Any]:
    """Return what `tear_sheet.html.j2` shows of a tear sheet; whether its returns multiply decides a year's."""
    return {
        "years": sheet.years(compounded=compounded),
        "rolling_days": ROLLING.days,
        "rolling_plot": live(_rolling_figure(sheet.rolling), "rolling") if sheet.rolling.height > 1 else "",
        "drawdowns": sheet.drawdowns.rows(named=True),
    }


def _rolling_figure(rolling: pl.DataFrame) -> Figure:
    figure, (axes,) = axes_of(2.8)
    times = _times(rolling["ts"].dt.epoch("us").to_numpy())
    ratio, error = (rolling[name].cast(pl.Float64).to_numpy() for name in ("sharpe", "sharpe_se"))
    axes.fill_between(times, ratio - error, ratio + error, color=INK, alpha=0.15, linewidth=0.0)
    axes.plot(times, ratio, color=INK, linewidth=1.2, label="Sharpe ratio")
    for label, line in (("one standard error below", ratio - error), ("one above", ratio + error)):
        axes.plot(times, line, color=INK, linewidth=0.3, label=label)
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set_ylabel("Sharpe ratio a year")
    return figure


def _times(micros: Any) -> Any:
    return np.asarray(micros, dtype="datetime64[us]")


def _tables(parts: Breakdown | None) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Return heading, sentence and rows of each table by time."""
    if parts is None:
        return []
    regimes = (
        f"What the market did in the {TREND.days} days (up or down) and the {UNREST.days} days (calm or wild) before "
        "each hour. The line between calm and wild is the median of the window, known at its end alone."
    )
    named = (
        ("By quarter", "", parts.quarters),
        ("By session", "The hour in which each return came.", parts.sessions),
        ("By regime of the market", regimes, parts.regimes),
    )
    return [(heading, said, frame.rows(named=True)) for heading, said, frame in named if frame.height]


def _equity_figure(pooled: PooledResult, parts: Breakdown | None = None) -> Figure:
    figure, (top, bottom) = axes_of(4.6, 2, (2.0, 1.0))
    times = _times(pooled.hours)
    top.plot(times, 100.0 * (pooled.equity - 1.0), color=INK, linewidth=1.4, label="strategy")
    if parts is not None:
        top.plot(times, 100.0 * (parts.holding - 1.0), color=MUTED, linewidth=1.0, label="holding the same lanes")
        top.legend(loc="best", ncols=2, frameon=False, fontsize="small")
        low, _, high = (-100.0 * depth for depth in parts.band)
        bottom.axhspan(high, low, color=MUTED, alpha=0.25, linewidth=0.0)
        for edge in (low, high):
            bottom.plot(times[[0, -1]], [edge, edge], color=MUTED, linewidth=0.5)
    top.axhline(0.0, color=MUTED, linewidth=0.8)
    top.set_ylabel("pooled PnL, % of capital")
    peaks = np.maximum.accumulate(np.concatenate([[1.0], pooled.equity]))[1:]
    fallen = 100.0 * (pooled.equity - peaks)
    bottom.fill_between(times, fallen, 0.0, color=LOSS, alpha=0.35, linewidth=0.0)
    bottom.plot(times, fallen, color=LOSS, linewidth=0.8, label="drawdown")
    bottom.set_ylabel("drawdown, %")
    return figure


def _cost_figure(lanes: Sequence[LaneResult]) -> Figure:
    """Draw the gross result of each lane and the share of each cost."""
    figure, (axes,) = axes_of(0.9 + 0.34 * len(lanes))
    names = [f"{lane.symbol} {lane.timeframe}" for lane in lanes]
    left = np.zeros(len(lanes))
    for label, colour, values in (
        ("fees", "#c77700", [lane.fees_pct for lane in lanes]),
        ("slippage", "#7b5ea7", [lane.slippage_pct for lane in lanes]),
        ("funding paid", "#00838f", [max(lane.funding_pct, 0.0) for lane in lanes]),
    ):
        axes.barh(names, values, left=left, color=colour, label=label)
        left = left + np.array(values)
    axes.plot([lane.total_pnl_pct for lane in lanes], names, "o", color=INK, label="net result")
    axes.axvline(0.0, color=MUTED, linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("% of starting capital")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25 - 0.1 / max(len(lanes), 1)), ncols=4, frameon=False)
    return figure


def _trades_figure(lane: LaneResult, trades: pl.DataFrame, candles: pl.DataFrame) -> Figure | None:
    price = candles.filter(pl.col("symbol") == lane.symbol)
    if "timeframe" in price.columns:
        price = price.filter(pl.col("timeframe") == lane.timeframe)
    price = price.filter(pl.col("ts").is_between(lane.start, lane.end)).sort("ts")
    if price.is_empty():
        return None
    price = price[seen_of(len(price))]
    own = trades.filter(pl.col("symbol") == lane.symbol, pl.col("timeframe") == lane.timeframe)
    figure, (axes,) = axes_of(3.4)
    axes.plot(_times(price["ts"].dt.epoch("us").to_numpy()), price["close"].to_numpy(), color=MUTED, linewidth=0.8)
    for side, marker in (("long", "^"), ("short", "v")):
        some = own.filter(pl.col("side") == side)
        axes.plot(
            _times(some["entry_ts"].dt.epoch("us").to_numpy()),
            some["entry_price"].to_numpy(),
            marker,
            color=INK,
            markersize=4,
            label=f"{side} entry",
            linestyle="none",
        )
    for won, colour, label in ((True, GAIN, "exit with gain"), (False, LOSS, "exit with loss")):
        some = own.filter((pl.col("pnl_pct") > 0.0) == won)
        axes.plot(
            _times(some["exit_ts"].dt.epoch("us").to_numpy()),
            some["exit_price"].to_numpy(),
            "x",
            color=colour,
            markersize=4,
            label=label,
            linestyle="none",
        )
    axes.set_ylabel("price")
    axes.legend(loc="best", ncols=4, frameon=False, fontsize="small")
    return figure
