"""One backtest of a book as one HTML page: equity, legs, weights, symbols, beta, costs, capacity, quarters, regimes.

Belongs here: a pure function from a book's evaluation to text. The page needs no network: styles and plots are inside
it. Does not belong here: taking a result apart (`backtester.evaluation.book_breakdown`), drawing that pages share and
the page of a strategy (`backtester.page`), writing files.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from backtester.charts import seen_of
from backtester.evaluation.book_breakdown import (
    Earnings,
    beta_over_time,
    by_quarter,
    by_regime,
    earnings_of,
    sheet_of,
    universe_curve,
)
from backtester.evaluation.book_evaluation import CAPITALS, BookEvaluation
from backtester.evaluation.breakdown import TREND, UNREST
from backtester.page import (
    GAIN,
    INK,
    LOSS,
    MUTED,
    axes_of,
    html,
    live,
    number,
    percent,
    share,
    sheet_values,
    svg,
    trade_values,
)
from backtester.simulation import book_kernel as kernel
from backtester.simulation.costs import LARGE_SHARE
from features.array_types import FloatArray
from features.bars import bar_length

MOST_SYMBOLS: Final = 40
"""Symbols in a plot, those held most first."""
MOST_COLUMNS: Final = 400
"""Moments in the heat map of weights; more would not be seen."""


def book_page(
    evaluation: BookEvaluation,
    *,
    market: str = "",
    parameters: Mapping[str, float] | None = None,
    idea: str = "",
    chosen_today: bool = False,
    notes: Sequence[str] = (),
) -> str:
    """Return a backtest of a book as an HTML page.

    Parameters
    ----------
    evaluation : BookEvaluation
        Of the book.
    market : str
        Where the bars came from, e.g. `sample (synthetic)`; printed under the title.
    parameters : dict of str to float, optional
        Those of the book.
    idea : str
        What the book does and why, in a paragraph.
    chosen_today : bool
        Whether a person chose the universe, so that it holds those who survived; the page then says so.
    notes : sequence of str
        Lines printed below it.

    Returns
    -------
    str
        HTML that needs no network.

    Notes
    -----
    The same input gives the same text, byte for byte.
    """
    result, metrics = evaluation.result, evaluation.metrics()
    earned = earnings_of(result)
    times = np.asarray(result.market.ts[result.begin :] + result.market.step, dtype="datetime64[us]")
    symbols = result.by_symbol()
    return html(
        "book.html.j2",
        **sheet_values(sheet_of(evaluation), compounded=True),
        name=evaluation.name,
        market=market,
        parameters=parameters or {},
        idea=idea,
        **trade_values(result.trades),
        trend=TREND.days,
        unrest=UNREST.days,
        notes=[*_warnings(evaluation, chosen_today=chosen_today), *notes],
        start=result.market.time_of(result.begin),
        end=times[-1].item(),
        capital=result.capital,
        rules=result.rules,
        costs=result.costs,
        figures=_figures(metrics),
        metrics=metrics,
        ruined=metrics["ruined"],
        equity_plot=live(_equity_figure(evaluation, times), "equity"),
        leg_plot=live(_leg_figure(evaluation, earned, times), "legs"),
        legs=result.by_side().rows(named=True),
        weight_plot=svg(_weight_figure(evaluation, earned, times), "weights"),
        symbol_plot=svg(_symbol_figure(symbols), "symbols") if symbols.height else "",
        symbols=symbols.rows(named=True),
        beta_plot=live(_beta_figure(evaluation, times), "beta"),
        cost_plot=live(_cost_figure(evaluation, earned, times), "costs"),
        capacity=evaluation.capacity(tuple(sorted({*CAPITALS, result.capital}))),
        quarters=by_quarter(evaluation).rows(named=True),
        regimes=by_regime(evaluation).rows(named=True),
        tranches=evaluation.by_tranche().rows(named=True) if len(result.tranches) > 1 else [],
    )


def _warnings(evaluation: BookEvaluation, *, chosen_today: bool) -> list[str]:
    """Return what must be known before a number of the page is believed."""
    lines = []
    if chosen_today:
        lines.append(
            "Survivors: the universe was chosen today, by somebody who knew which symbols were still there and had "
            "become large. That flatters every number of this page."
        )
    capital = evaluation.result.capital
    (own,) = evaluation.capacity((capital,))
    if own.largest is not None and own.largest >= LARGE_SHARE:
        lines.append(
            f"Too large for its market: with a capital of {capital:,.0f}, {share(own.above_limit)} of the fills are "
            f"above {share(LARGE_SHARE, 0)} of what was traded in their bar (the largest {share(own.largest)}). Such "
            "prices may be out of reach."
        )
    if own.without_volume:
        lines.append(
            f"{own.without_volume} fills are in bars in which nothing was traded: no price was to be had there."
        )
    return lines


def _figures(metrics: dict[str, float | int | None]) -> list[tuple[str, str]]:
    error = metrics["sharpe_se"]
    return [
        ("net return", percent(metrics["total_pnl_pct"])),
        ("Sharpe ratio", number(metrics["sharpe"]) + ("" if error is None else f" ± {error:.2f}")),
        ("max drawdown", share(metrics["max_drawdown"])),
        ("with all extremes at once", share(metrics["adverse_drawdown"])),
        ("turnover a year, × equity", number(metrics["turnover_year"], 1)),
        ("beta to the universe", number(metrics["beta"])),
        ("alpha a year (standard error)", f"{share(metrics['alpha'])} ({share(metrics['alpha_se'])})"),
        ("trades", str(metrics["trades"])),
        ("win rate", share(metrics["win_rate"])),
        ("net PnL of a trade", percent(metrics["avg_pnl_pct"], 3)),
        ("mean gross exposure, × equity", number(metrics["gross_exposure"])),
        ("mean net exposure, × equity", number(metrics["net_exposure"])),
        ("score", number(metrics["score"], 1)),
    ]


def _some(times: FloatArray, *lines: FloatArray) -> list[FloatArray]:
    """Return lines thinned to what can be seen, the last point among them."""
    chosen = seen_of(len(times))
    return [line[chosen] for line in (times, *lines)]


def _equity_figure(evaluation: BookEvaluation, times: FloatArray) -> Figure:
    result = evaluation.result
    figure, (top, bottom) = axes_of(4.6, 2, (2.0, 1.0))
    if len(result.tranches) > 1:
        for tranche in result.tranches:
            seen, line = _some(times, 100.0 * (tranche.series[kernel.EQUITY] / tranche.capital - 1.0))
            top.plot(seen, line, color=MUTED, linewidth=0.6, alpha=0.7)
    peaks = np.maximum.accumulate(np.maximum(result.equity, result.capital))
    seen, line, fallen = _some(
        times, 100.0 * (result.equity / result.capital - 1.0), 100.0 * (result.equity / peaks - 1.0)
    )
    top.plot(seen, line, color=INK, linewidth=1.4, label="book")
    held = universe_curve(result)[:: bar_length(result.market.timeframe) // bar_length("60m")][1:] - 1.0
    top.plot(*_some(times, 100.0 * held), color=MUTED, linewidth=1.0, label="universe")
    top.legend(loc="best", ncols=2, frameon=False, fontsize="small")
    top.axhline(0.0, color=MUTED, linewidth=0.8)
    top.set_ylabel("net return, %")
    bottom.fill_between(seen, fallen, 0.0, color=LOSS, alpha=0.35, linewidth=0.0)
    bottom.plot(seen, fallen, color=LOSS, linewidth=0.8, label="drawdown")
    bottom.set_ylabel("drawdown, %")
    return figure


def _leg_figure(evaluation: BookEvaluation, earned: Earnings, times: FloatArray) -> Figure:
    capital = evaluation.result.capital
    figure, (axes,) = axes_of(3.0)
    seen, long, short = _some(
        times, 100.0 * np.cumsum(earned.long) / capital, 100.0 * np.cumsum(earned.short) / capital
    )
    axes.plot(seen, long, color=GAIN, linewidth=1.2, label="long leg")
    axes.plot(seen, short, color=LOSS, linewidth=1.2, label="short leg")
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set_ylabel("net PnL, % of starting capital")
    axes.legend(loc="best", ncols=2, frameon=False, fontsize="small")
    return figure


def _weight_figure(evaluation: BookEvaluation, earned: Earnings, times: FloatArray) -> Figure:
    """Draw what was held of each symbol at some closes, as a share of equity."""
    result = evaluation.result
    step = max(1, -(-len(times) // MOST_COLUMNS))
    chosen = np.arange(len(times) - 1, -1, -step)[::-1]
    equity = np.where(result.equity > 0.0, result.equity, np.nan)
    weights = 100.0 * earned.held[chosen] / equity[chosen, None]
    mean = np.nan_to_num(np.abs(earned.held / equity[:, None])).mean(axis=0)
    names = sorted(np.argsort(-mean, kind="stable")[:MOST_SYMBOLS])
    largest = float(np.nanmax(np.abs(weights), initial=1e-9))
    figure, (axes,) = axes_of(1.2 + 0.2 * len(names))
    drawn = axes.imshow(
        weights[:, names].T, aspect="auto", interpolation="nearest", cmap="RdBu", vmin=-largest, vmax=largest
    )
    axes.grid(visible=False)
    axes.set_yticks(range(len(names)), [result.market.symbols[place] for place in names], fontsize="x-small")
    ticks = np.linspace(0, len(chosen) - 1, min(6, len(chosen))).astype(np.int64)
    axes.set_xticks(ticks, [str(times[chosen[tick]])[:10] for tick in ticks])
    figure.colorbar(drawn, ax=axes, label="% of equity", fraction=0.03, pad=0.01)
    return figure


def _symbol_figure(symbols: pl.DataFrame) -> Figure:
    half = MOST_SYMBOLS // 2
    shown = symbols if symbols.height <= MOST_SYMBOLS else pl.concat([symbols.head(half), symbols.tail(half)])
    net = shown["net_pct"].to_numpy()
    figure, (axes,) = axes_of(0.8 + 0.2 * shown.height)
    axes.barh(shown["symbol"].to_list(), net, color=np.where(net >= 0.0, GAIN, LOSS).tolist())
    axes.axvline(0.0, color=MUTED, linewidth=0.8)
    axes.tick_params(axis="y", labelsize="x-small")
    axes.invert_yaxis()
    axes.set_xlabel("net PnL, % of starting capital")
    return figure


def _beta_figure(evaluation: BookEvaluation, times: FloatArray) -> Figure:
    figure, (top, bottom) = axes_of(4.2, 2)
    long, short = evaluation.result.held
    seen, beta, long, short = _some(times, beta_over_time(evaluation), long, short)
    top.plot(seen, beta, color=INK, linewidth=1.2, label="beta")
    top.axhline(0.0, color=MUTED, linewidth=0.8)
    top.set_ylabel(f"beta of {TREND.days} days")
    bottom.plot(seen, long, color=GAIN, linewidth=0.9, label="long")
    bottom.plot(seen, -short, color=LOSS, linewidth=0.9, label="short")
    bottom.plot(seen, long - short, color=INK, linewidth=0.9, label="net")
    bottom.axhline(0.0, color=MUTED, linewidth=0.8)
    bottom.set_ylabel("held, × equity")
    bottom.legend(loc="best", ncols=3, frameon=False, fontsize="small")
    return figure


def _cost_figure(evaluation: BookEvaluation, earned: Earnings, times: FloatArray) -> Figure:
    figure, (top, bottom) = axes_of(4.2, 2)
    for label, colour, paid in (
        ("fees", "#c77700", earned.fees),
        ("slippage", "#7b5ea7", earned.slippage),
        ("funding paid", "#00838f", earned.funding),
    ):
        seen, line = _some(times, 100.0 * np.cumsum(paid) / evaluation.result.capital)
        top.plot(seen, line, color=colour, linewidth=1.2, label=label)
    top.set_ylabel("paid, % of starting capital")
    top.legend(loc="best", ncols=3, frameon=False, fontsize="small")
    seen, line = _some(times, np.cumsum(earned.traded))
    bottom.plot(seen, line, color=INK, linewidth=1.2, label="turnover")
    bottom.set_ylabel("turnover, × equity")
    return figure
