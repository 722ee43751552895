"""A result taken apart: by quarter, session and regime of the market, by symbol, and by the luck of its order.

Belongs here: which times belong together, of strategies and books alike, and the frames and curves of a strategy that a
page draws. Does not belong here: what only a book has (`backtester.evaluation.book_breakdown`), drawing
(`backtester.page`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from backtester.evaluation.evaluate import Evaluation
from backtester.evaluation.pooling import pool
from backtester.evaluation.robustness import holding_curve, scored_lanes
from backtester.evaluation.tear_sheet import TearSheet, tear_sheet
from backtester.statistics.bootstrap import reordered
from backtester.statistics.metrics import HOURS_PER_YEAR, Moments, falls
from features.array_types import BoolArray, FloatArray, IntArray
from features.bars import HOUR_US, TS

TREND: Final = timedelta(days=30)
"""The market is up or down by its return over so long."""
UNREST: Final = timedelta(days=7)
"""The market is calm or wild by its volatility over so long."""
BLOCK_HOURS: Final = 24
"""Length of the blocks of returns that are put into another order."""
DRAWS: Final = 1_000
BAND: Final = (0.05, 0.5, 0.95)
"""Quantiles of the largest drawdown over the orders."""
_HOUR: Final = timedelta(hours=1)
_SESSIONS: Final = {"Asia, 00 to 08 UTC": 0, "Europe, 08 to 16 UTC": 8, "America, 16 to 24 UTC": 16}
_SESSION_HOURS: Final = 8


@dataclass(frozen=True, eq=False)
class Breakdown:
    """A strategy's result taken apart.

    Attributes
    ----------
    quarters, sessions, regimes : DataFrame
        `period`, `days`, `return_pct` (sum of PnL over the capital, percent), `sharpe`, `sharpe_se`; regimes are empty
        where the market's past is unknown.
    symbols : DataFrame
        `symbol`, `lanes`, `trades`, `win_rate`, `avg_pnl_pct`, `total_pnl_pct`, `sharpe`, `sharpe_se`,
        `max_drawdown`, `costs_pct` (fees, slippage and funding): its scored lanes pooled.
    holding : ndarray of shape (n_hours,)
        Equity of holding the same lanes, at the hours of the pooled result.
    band : tuple of float
        The largest drawdown at the quantiles `BAND` over orders of its daily blocks of returns, as fractions.
    sheet : TearSheet
        By month and day, its rolling ratio, its worst drawdowns; not compounded.
    """

    quarters: pl.DataFrame
    sessions: pl.DataFrame
    regimes: pl.DataFrame
    symbols: pl.DataFrame
    holding: FloatArray
    band: tuple[float, ...]
    sheet: TearSheet


def breakdown(evaluation: Evaluation, market: pl.DataFrame | None = None, *, seed: int) -> Breakdown:
    """Take a strategy's result apart.

    Parameters
    ----------
    evaluation : Evaluation
        That did not fail.
    market : DataFrame, optional
        `symbol`, `ts` and `close` of hourly candles of the lanes' symbols, from `TREND` before the window on; without
        it there are no regimes.
    seed : int
        Of the orders of blocks.

    Returns
    -------
    Breakdown
        Deterministic for a seed.

    Raises
    ------
    ValueError
        If the evaluation failed.
    """
    lanes = scored_lanes(evaluation)
    pooled = pool(evaluation.lanes)
    ends = hour_ends(pooled)

    def of(parts: Mapping[str, BoolArray]) -> pl.DataFrame:
        return apart(parts, pooled.returns, pooled.present, _HOUR, HOURS_PER_YEAR, compounded=False)

    return Breakdown(
        quarters=of(quarter_parts(ends - HOUR_US)),
        sessions=of(_session_parts(ends)),
        regimes=of({} if market is None else _regimes(market, ends)),
        symbols=_by_symbol(evaluation),
        holding=holding_curve(lanes),
        band=drawdown_band(pooled.present_returns, seed=seed),
        sheet=tear_sheet(ends, pooled.returns, pooled.present, compounded=False),
    )


def drawdown_band(returns: FloatArray, *, seed: int, draws: int = DRAWS) -> tuple[float, ...]:
    """Return the largest drawdown at the quantiles `BAND` over orders of the daily blocks of some returns.

    Parameters
    ----------
    returns : ndarray of shape (n_hours,)
        What each hour added to the capital, as fractions of it.
    seed : int
        Of the orders.
    draws : int
        How many orders.

    Returns
    -------
    tuple of float
        Fractions of the capital. The same returns came in another order, so the total of each is the same.
    """
    orders = reordered(returns, BLOCK_HOURS, draws=draws, rng=np.random.default_rng(seed))
    depths = falls(1.0 + np.cumsum(orders, axis=1))
    return tuple(float(depth) for depth in np.quantile(depths, BAND))


class Hourly(Protocol):
    """Returns of hours, as `PooledResult` has them."""

    @property
    def hours(self) -> IntArray:
        """Full hours of the window, microseconds since 1970, shape (n_hours,)."""
        ...

    @property
    def returns(self) -> FloatArray:
        """What each hour added, of shape (n_returns,)."""
        ...


def hour_ends(pooled: Hourly) -> IntArray:
    """Return when each of the pooled returns ended, microseconds since 1970, shape (n_returns,)."""
    ends: IntArray = pooled.hours[len(pooled.hours) - len(pooled.returns) :]
    return ends


def quarter_parts(times: IntArray) -> dict[str, BoolArray]:
    """Return the calendar quarters (UTC) of some times.

    Parameters
    ----------
    times : ndarray of shape (n_times,), int64
        Microseconds since 1970.

    Returns
    -------
    dict of str to ndarray of shape (n_times,), bool
        By a name such as `2025 Q2`, in the order of the times.
    """
    moments = pl.Series(times).cast(TS)
    names = (moments.dt.year().cast(pl.String) + " Q" + moments.dt.quarter().cast(pl.String)).to_numpy()
    return {str(name): names == name for name in dict.fromkeys(names)}


def regime_parts(average: FloatArray, begin: int, bar: timedelta) -> dict[str, BoolArray]:
    """Return the bars before which the market was up, down, calm and wild.

    Parameters
    ----------
    average : ndarray of shape (n_bars,)
        The market's return in each bar, with as many before the window as its past needs.
    begin : int
        First bar of the window.
    bar : timedelta
        Length of a bar.

    Returns
    -------
    dict of str to ndarray of shape (n_bars - begin,), bool
        Up where the return over `TREND` before the bar is above zero; wild where the volatility over `UNREST` before
        it is above that of the median bar of the window. A bar without so long a past is in none.

    Notes
    -----
    The median is known at the end alone, so nothing could have been traded by it.
    """
    trend, _ = sums_before(average, TREND // bar)
    count = UNREST // bar
    mean, square = (sums_before(values, count)[0] for values in (average, average * average))
    unrest = square / count - (mean / count) ** 2
    trend, unrest = trend[begin:], unrest[begin:]
    median = np.nanmedian(unrest) if np.isfinite(unrest).any() else np.nan
    return {"up": trend > 0.0, "down": trend <= 0.0, "calm": unrest <= median, "wild": unrest > median}


def sums_before(values: FloatArray, bars: int) -> tuple[FloatArray, FloatArray]:
    """Return sums over `bars` before each place, and up to and with it; NaN where there are fewer.

    `values` and both results have shape (n_bars,).
    """
    total = np.concatenate([[0.0], np.cumsum(values)])
    inside = np.full(len(values), np.nan)
    if len(values) >= bars:
        inside[bars - 1 :] = total[bars:] - total[:-bars]
    return np.concatenate([[np.nan], inside[:-1]]), inside


def apart(
    parts: Mapping[str, BoolArray],
    returns: FloatArray,
    there: npt.NDArray[np.bool_],
    bar: timedelta,
    year: float,
    *,
    compounded: bool,
) -> pl.DataFrame:
    """Return how some returns did in parts of the time.

    Parameters
    ----------
    parts : dict of str to ndarray of shape (n_returns,), bool
        Which returns belong to each.
    returns : ndarray of shape (n_returns,)
        Fractions.
    there : ndarray of shape (n_returns,), bool
        Those in whose time there were bars; the others are no returns.
    bar : timedelta
        Time of one return.
    year : float
        Returns in a year.
    compounded : bool
        Whether returns multiply (a book's) or add up (a unit replay's).

    Returns
    -------
    DataFrame
        `period`, `days`, `return_pct`, `sharpe`, `sharpe_se` of each part.
    """
    rows = []
    for name, inside in parts.items():
        own = returns[inside & there]
        moments = Moments.of(own)
        rows.append(
            {
                "period": name,
                "days": len(own) * bar / timedelta(days=1),
                "return_pct": 100.0 * (float(np.prod(1.0 + own)) - 1.0 if compounded else float(own.sum())),
                "sharpe": moments.annual_sharpe(year),
                "sharpe_se": moments.annual_sharpe_se(year),
            }
        )
    kinds = {"period": pl.String, **dict.fromkeys(("days", "return_pct", "sharpe", "sharpe_se"), pl.Float64)}
    return pl.DataFrame(rows, schema=kinds)


def market_average(candles: pl.DataFrame, ends: IntArray) -> FloatArray:
    """Return the mean return of some symbols in each hour.

    Parameters
    ----------
    candles : DataFrame
        `symbol`, `ts`, `close` of hourly candles.
    ends : ndarray of shape (n_hours,), int64
        Ends of the hours, microseconds since 1970.

    Returns
    -------
    ndarray of shape (n_hours,)
        0 where no symbol has the hour and the one before it.
    """
    moves = candles.sort("symbol", "ts").with_columns(
        (pl.col("close") / pl.col("close").shift(1) - 1.0).over("symbol").alias("move"),
        (pl.col("ts") - pl.col("ts").shift(1)).over("symbol").alias("gap"),
    )
    mean = moves.filter(pl.col("gap") == _HOUR).group_by("ts").agg(pl.col("move").mean())
    hours = pl.DataFrame({"ts": pl.Series(ends - HOUR_US).cast(TS)})
    joined = hours.join(mean.with_columns(pl.col("ts").cast(TS)), on="ts", how="left", maintain_order="left")
    average: FloatArray = joined["move"].fill_null(0.0).to_numpy()
    return average


def _regimes(market: pl.DataFrame, ends: IntArray) -> dict[str, BoolArray]:
    if not len(ends):
        return {}
    first = int(market["ts"].dt.epoch("us").min() or 0) + HOUR_US  # type: ignore[arg-type]
    lead = max(0, min((int(ends[0]) - first) // HOUR_US, TREND // _HOUR))
    every = np.concatenate([ends[0] - HOUR_US * np.arange(lead, 0, -1), ends])
    return regime_parts(market_average(market, every), lead, _HOUR)


def _session_parts(ends: IntArray) -> dict[str, BoolArray]:
    hour = (ends - HOUR_US) // HOUR_US % 24
    return {name: (hour >= first) & (hour < first + _SESSION_HOURS) for name, first in _SESSIONS.items()}


def _by_symbol(evaluation: Evaluation) -> pl.DataFrame:
    rows = []
    for symbol in dict.fromkeys(lane.symbol for lane in evaluation.scored):
        own = pool([lane for lane in evaluation.scored if lane.symbol == symbol])
        names = ("lanes", "trades", "win_rate", "avg_pnl_pct", "total_pnl_pct", "sharpe", "sharpe_se", "max_drawdown")
        costs = own.fees_pct + own.slippage_pct + own.funding_pct
        rows.append({"symbol": symbol, **{name: getattr(own, name) for name in names}, "costs_pct": costs})
    floats = ("win_rate", "avg_pnl_pct", "sharpe", "sharpe_se")
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(floats, pl.Float64))
