"""A book's result taken apart: by symbol and leg at every bar, by quarter, by what the market did, and its beta.

Belongs here: from a book's result to arrays and frames that a page draws. Does not belong here: the metrics that are
stored (`backtester.evaluation.book_evaluation`), drawing (`backtester.book_page`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from backtester.evaluation.book_evaluation import BookEvaluation
from backtester.evaluation.breakdown import TREND, apart, quarter_parts, regime_parts, sums_before
from backtester.evaluation.tear_sheet import TearSheet, tear_sheet
from backtester.simulation import book_kernel as kernel
from backtester.simulation.bar_arrays import from_micros, full_hours, to_micros
from backtester.simulation.books import BookResult, Tranche
from backtester.statistics.metrics import bars_per_year, fall
from backtester.statistics.overfitting import episodes_of
from features.array_types import BoolArray, FloatArray, IntArray
from features.bars import bar_length

_DUST: Final = 1e-9


@dataclass(frozen=True, eq=False)
class Earnings:
    """What a book held and earned at every bar, marked to market.

    Attributes
    ----------
    held : ndarray of shape (n_bars, n_symbols)
        Value held at each close, signed, quote currency; all tranches together.
    quantity : ndarray of shape (n_bars, n_symbols)
        The same in base units.
    long, short : ndarray of shape (n_bars,)
        What the long and the short positions of all symbols earned in each bar, after costs, quote currency.
    fees, slippage, funding : ndarray of shape (n_bars,)
        What was paid in each bar, quote currency; funding negative where received.
    traded : ndarray of shape (n_bars,)
        Traded notional, as a fraction of the equity of its tranche at the time; the mean over the tranches.
    """

    held: FloatArray
    quantity: FloatArray
    long: FloatArray
    short: FloatArray
    fees: FloatArray
    slippage: FloatArray
    funding: FloatArray
    traded: FloatArray


def sheet_of(evaluation: BookEvaluation) -> TearSheet:
    """Return a book's months and days, rolling ratio and worst drawdowns, compounded."""
    hours = evaluation.hourly()[1:]
    ends, returns, there = hours["ts"].dt.epoch("us"), hours["net_return"], hours["with_bars"]
    return tear_sheet(ends.to_numpy(), returns.to_numpy(), there.to_numpy(), compounded=True)


def earnings_of(result: BookResult) -> Earnings:
    """Return what a book held and earned at every bar.

    Parameters
    ----------
    result : BookResult
        Of a book.

    Returns
    -------
    Earnings
        Where no tranche was ruined, `long` + `short` adds up to the change of equity.

    Notes
    -----
    A bar's earnings are those of the quantity held before it, from the last mark to this one, and of what its fills
    differ from this mark, less fees and funding. A ruined tranche holds and earns nothing from the bar of its ruin on:
    what it lost there is in the equity alone.
    """
    total: Earnings | None = None
    for tranche in result.tranches:
        own = _of_tranche(result, tranche)
        total = own if total is None else Earnings(*(a + b for a, b in zip(_parts(total), _parts(own), strict=True)))
    assert total is not None  # noqa: S101 - a book has a tranche
    return total


def _parts(earnings: Earnings) -> tuple[FloatArray, ...]:
    return tuple(vars(earnings).values())


def _of_tranche(result: BookResult, tranche: Tranche) -> Earnings:
    market, begin = result.market, result.begin
    bars, symbols = len(market.ts) - begin, len(market.symbols)
    end = bars if tranche.outcome[kernel.RUINED_AT] < 0 else int(tranche.outcome[kernel.RUINED_AT]) - begin
    fills = tranche.fills[tranche.fills[:, kernel.F_ROW] < begin + end]
    fills = fills[np.lexsort((np.arange(len(fills)), fills[:, kernel.F_SYMBOL]))]
    rows, columns = fills[:, kernel.F_ROW].astype(np.int64) - begin, fills[:, kernel.F_SYMBOL].astype(np.int64)
    quantity, price = fills[:, kernel.F_QUANTITY], fills[:, kernel.F_PRICE]
    marks = market.mark[begin:]
    changes = np.zeros((bars, symbols))
    np.add.at(changes, (rows, columns), quantity)
    quantities = np.cumsum(changes, axis=0)
    quantities[np.abs(quantities) <= _DUST * np.maximum.accumulate(np.abs(quantities), axis=0)] = 0.0
    quantities[end:] = 0.0
    before = np.vstack([np.zeros((1, symbols)), quantities[:-1]])
    before[end:] = 0.0
    earlier = market.mark[begin - 1 : -1] if begin else np.vstack([np.full((1, symbols), np.nan), marks[:-1]])
    opens = np.where(np.isnan(market.open[begin:]), earlier, market.open[begin:])
    paid = np.where(before != 0.0, before * opens * market.funding[begin:], 0.0)
    moved = np.where(before != 0.0, before * (marks - earlier), 0.0) - paid
    fees = fills[:, kernel.F_FEE]
    slippage = np.abs(quantity * (price - fills[:, kernel.F_REFERENCE]))
    gain = quantity * (marks[rows, columns] - price) - fees
    after = _running(quantity, columns)
    reduces = np.abs(after) < np.abs(after - quantity)
    of_long = np.where(reduces, after - quantity, after) > 0.0

    def by_row(values: FloatArray, chosen: BoolArray | None = None) -> FloatArray:
        kept = slice(None) if chosen is None else chosen
        return np.bincount(rows[kept], weights=values[kept], minlength=bars).astype(np.float64)

    traded = np.abs(quantity) * price / fills[:, kernel.F_EQUITY] / len(result.tranches)
    return Earnings(
        held=np.where(quantities != 0.0, quantities * marks, 0.0),
        quantity=quantities,
        long=np.where(before > 0.0, moved, 0.0).sum(axis=1) + by_row(gain, of_long),
        short=np.where(before < 0.0, moved, 0.0).sum(axis=1) + by_row(gain, ~of_long),
        fees=by_row(fees),
        slippage=by_row(slippage),
        funding=paid.sum(axis=1),
        traded=by_row(traded),
    )


def _running(quantity: FloatArray, columns: IntArray) -> FloatArray:
    """Return the quantity of a symbol after each of its fills, which stand together."""
    total = np.cumsum(quantity)
    first = np.flatnonzero(np.diff(columns, prepend=-1))
    base = np.repeat(total[first] - quantity[first], np.diff(np.append(first, len(quantity))))
    after: FloatArray = total - base
    return after


@dataclass(frozen=True, eq=False)
class FixedCapital:
    """A book hour by hour on capital that is the same at the begin of each bar, as strategies are measured.

    Attributes
    ----------
    start, end : datetime
        The window.
    hours : ndarray of shape (n_hours,), int64
        Full hours of the window, microseconds since 1970.
    equity : ndarray of shape (n_hours,)
        Capital and PnL, starting capital = 1; not compounded.
    returns : ndarray of shape (n_hours - 1,)
        What each hour added: of a bar of several hours, all in its last.
    present : ndarray of shape (n_hours - 1,), bool
        Whether any symbol has a bar over the hour.
    total_pnl_pct, fees_pct, slippage_pct, funding_pct : float
        Sums over the bars, percent of the capital; a ruined tranche pays nothing more.
    max_drawdown : float
        Largest fall of `equity`, over the capital, at most 1.
    trades : int
        Of all tranches.
    win_rate, avg_pnl_pct, sharpe, sharpe_se, score, turnover, exposure : float, optional
        As the book's own metrics have them.
    """

    start: datetime
    end: datetime
    hours: IntArray
    equity: FloatArray
    returns: FloatArray
    present: BoolArray
    total_pnl_pct: float
    fees_pct: float
    slippage_pct: float
    funding_pct: float
    max_drawdown: float
    trades: int
    win_rate: float | None
    avg_pnl_pct: float | None
    sharpe: float | None
    sharpe_se: float | None
    score: float | None
    turnover: float
    exposure: float

    @property
    def present_returns(self) -> FloatArray:
        """Hourly returns of the hours with bars, shape (n_present,)."""
        return self.returns[self.present]


def on_fixed_capital(evaluation: BookEvaluation) -> FixedCapital:
    """Return a book's result on capital that is the same at the begin of each bar.

    Parameters
    ----------
    evaluation : BookEvaluation
        On bars of an hour or more.

    Returns
    -------
    FixedCapital
        Comparable with `backtester.PooledResult`. A book's own equity compounds, its returns do not.
    """
    result, metrics = evaluation.result, evaluation.metrics()
    frame = evaluation.hourly()
    start, end = (from_micros(int(frame["ts"].dt.epoch("us")[place])) for place in (0, -1))
    returns = frame["net_return"].slice(1).to_numpy()
    equity = np.concatenate([[1.0], 1.0 + np.cumsum(returns)])
    before = np.concatenate([[result.capital], result.equity[:-1]])
    earned = earnings_of(result)
    paid = {
        f"{name}_pct": 100.0 * float(np.divide(cost, before, out=np.zeros_like(cost), where=before > 0.0).sum())
        for name, cost in (("fees", earned.fees), ("slippage", earned.slippage), ("funding", earned.funding))
    }
    return FixedCapital(
        start=start,
        end=end,
        hours=full_hours(to_micros(start), to_micros(end)),
        equity=equity,
        returns=returns,
        present=frame["with_bars"].slice(1).to_numpy(),
        total_pnl_pct=100.0 * float(equity[-1] - 1.0),
        max_drawdown=fall(equity),
        trades=int(metrics["trades"] or 0),
        turnover=float(metrics["turnover"] or 0.0),
        exposure=float(metrics["exposure"] or 0.0),
        win_rate=metrics["win_rate"],
        avg_pnl_pct=metrics["avg_pnl_pct"],
        sharpe=metrics["sharpe"],
        sharpe_se=metrics["sharpe_se"],
        score=metrics["score"],
        **paid,
    )


def book_episodes(evaluation: BookEvaluation) -> FloatArray:
    """Return the results of a book's independent episodes of trades, of shape (n_episodes,)."""
    return episodes_of(
        evaluation.result.trades.select(
            "entry_ts",
            "exit_ts",
            pl.lit(evaluation.result.market.timeframe).alias("timeframe"),
            pl.col("reason").alias("exit_reason"),
            pl.col("net").alias("pnl"),
        )
    )


def universe_curve(result: BookResult) -> FloatArray:
    """Return the compounded equal-weighted average of the universe at full hours, starting at 1, shape (n_hours,)."""
    hours = bar_length(result.market.timeframe) // bar_length("60m")
    levels = np.concatenate([[1.0], np.cumprod(1.0 + np.nan_to_num(result.market.average[result.begin :]))])
    curve: FloatArray = levels[np.arange(hours * (len(levels) - 1) + 1) // hours]
    return curve


def by_quarter(evaluation: BookEvaluation) -> pl.DataFrame:
    """Return `period`, `days`, `return_pct`, `sharpe`, `sharpe_se` of each calendar quarter (UTC) of the window."""
    result = evaluation.result
    return _apart(evaluation, quarter_parts(result.market.ts[result.begin :]))


def by_regime(evaluation: BookEvaluation) -> pl.DataFrame:
    """Return the columns of `by_quarter` for bars before which the market was up, down, calm and wild.

    Notes
    -----
    The market is the universe's equal-weighted average: up where its return over the 30 days before the bar is above
    zero; wild where its volatility over the 7 days before is above that of the median bar of the window. That median is
    known at the end alone, so nothing could have been traded by it.
    """
    result = evaluation.result
    average = np.nan_to_num(result.market.average)
    return _apart(evaluation, regime_parts(average, result.begin, bar_length(result.market.timeframe)))


def beta_over_time(evaluation: BookEvaluation) -> FloatArray:
    """Return beta to the universe's average over the 30 days up to each bar, shape (n_bars,); NaN before that."""
    result = evaluation.result
    bars = TREND // bar_length(result.market.timeframe)
    market = np.nan_to_num(result.market.average[result.begin :])
    own = result.returns
    sums = [sums_before(values, bars)[1] for values in (market, own, market * own, market * market)]
    m, r, shared, squares = (values / bars for values in sums)
    spread = squares - m * m
    with np.errstate(all="ignore"):
        beta: FloatArray = np.where(spread > 0.0, (shared - m * r) / spread, np.nan)
    return beta


def _apart(evaluation: BookEvaluation, parts: dict[str, BoolArray]) -> pl.DataFrame:
    result = evaluation.result
    bar, year = bar_length(result.market.timeframe), bars_per_year(result.market.timeframe)
    return apart(parts, result.returns, evaluation.there, bar, year, compounded=True)
