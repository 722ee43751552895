"""Plain books over the sample market's universe: what the planted cross-sectional edges pay, measured independently.

Belongs here: books in NumPy loops that know the documentation of the edges and read bars and funding only. Does not
belong here: the process that makes the bars (`blofin_resources.market.sample`), the platform's own books.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from backtester.statistics.metrics import HOURS_PER_YEAR
from features.array_types import FloatArray

COST: Final = 8e-4
"""Fee and slippage of one side, as a fraction of what is traded."""

YOUNGEST: Final = 30 * 24
"""Hours for which a symbol must have been listed before a book may hold it."""

_FEWEST: Final = 5
_HALF_LIFE: Final = 168
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Panel:
    """Bars and funding of all symbols, arrays of shape (hours, symbols).

    Attributes
    ----------
    start : datetime
        Opening of the first hour.
    opens, closes : ndarray
        Prices; NaN where a symbol has no bar.
    rates : ndarray
        Funding paid at the opening of an hour; 0 where none is.
    """

    start: datetime
    opens: FloatArray
    closes: FloatArray
    rates: FloatArray


@dataclass(frozen=True)
class Result:
    """Returns by the hour on a fixed capital, with a gross exposure of one.

    Attributes
    ----------
    before : ndarray of shape (hours,)
        Price moves and funding.
    costs : ndarray of shape (hours,)
        Fees and slippage, positive.
    """

    before: FloatArray
    costs: FloatArray

    @property
    def gross(self) -> float:
        """Annual Sharpe ratio before costs, funding paid."""
        return _sharpe(self.before)

    @property
    def net(self) -> float:
        """Annual Sharpe ratio after costs."""
        return _sharpe(self.before - self.costs)


def panel(candles: pl.DataFrame, funding: pl.DataFrame, start: datetime, end: datetime) -> Panel:
    """Return hourly bars and funding as arrays.

    Parameters
    ----------
    candles : DataFrame
        `CANDLE_SCHEMA`, hourly.
    funding : DataFrame
        `FUNDING_SCHEMA`.
    start, end : datetime
        Full hours (UTC).

    Returns
    -------
    Panel
        Hours from `start` to before `end`, symbols in the order of their names.
    """
    symbols = candles["symbol"].unique().sort().to_list()
    shape = ((end - start) // _HOUR, len(symbols))
    opens, closes, rates = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape)
    place = pl.DataFrame({"symbol": symbols, "column": range(len(symbols))})
    hour = (pl.col("ts") - start).dt.total_hours().alias("hour")
    bars = (
        candles.filter(pl.col("ts").is_between(start, end, closed="left")).join(place, on="symbol").with_columns(hour)
    )
    paid = (
        funding.filter(pl.col("ts").is_between(start, end, closed="left")).join(place, on="symbol").with_columns(hour)
    )
    opens[bars["hour"].to_numpy(), bars["column"].to_numpy()] = bars["open"]
    closes[bars["hour"].to_numpy(), bars["column"].to_numpy()] = bars["close"]
    rates[paid["hour"].to_numpy(), paid["column"].to_numpy()] = paid["rate"]
    return Panel(start, opens, closes, rates)


def volatility(closes: FloatArray) -> FloatArray:
    """Return the root of an exponential mean (half-life 168 hours) of squared hourly log returns.

    `closes` and the result have shape (n_hours, n_symbols).
    """
    decay = 0.5 ** (1.0 / _HALF_LIFE)
    squares = np.diff(np.log(closes), axis=0, prepend=np.nan) ** 2
    mean = np.full(closes.shape, np.nan)
    for t in range(1, len(closes)):
        known = np.where(np.isnan(mean[t - 1]), squares[t], decay * mean[t - 1] + (1.0 - decay) * squares[t])
        mean[t] = known
    return np.sqrt(mean)


def momentum(market: Panel, hours: int = 72) -> FloatArray:
    """Return the log return of the last hours in standard deviations.

    The result has shape (n_hours, n_symbols).
    """
    logs = np.log(market.closes)
    moved = np.full(logs.shape, np.nan)
    moved[hours:] = logs[hours:] - logs[:-hours]
    return moved / (volatility(market.closes) * math.sqrt(hours))


def carry(market: Panel, hours: int = 168) -> FloatArray:
    """Return what a long received in funding over the last hours.

    The result has shape (n_hours, n_symbols).
    """
    paid = np.cumsum(market.rates, axis=0)
    received = np.full(paid.shape, np.nan)
    received[hours:] = -(paid[hours:] - paid[:-hours])
    return received


def reversal(market: Panel, hours: int = 8) -> FloatArray:
    """Return the opposite of the momentum of a few hours: the decoy.

    The result has shape (n_hours, n_symbols).
    """
    return -momentum(market, hours)


Score = Callable[[Panel], FloatArray]
BOOKS: Final[dict[str, tuple[Score, int]]] = {
    "momentum": (momentum, 24),
    "carry": (carry, 24),
    "decoy": (reversal, 8),
}
"""Score and hours between rebalances of each book."""


def weights(scores: FloatArray, sigma: FloatArray) -> FloatArray:
    """Return the weights of a book: ranks less their centre over volatility, each leg half of the gross.

    Parameters
    ----------
    scores, sigma : ndarray of shape (symbols,)
        Score and volatility of each symbol; NaN leaves it out.

    Returns
    -------
    ndarray of shape (symbols,)
        Weights; all zero with fewer than five known symbols.
    """
    known = np.flatnonzero(np.isfinite(scores) & np.isfinite(sigma))
    result = np.zeros(len(scores))
    if len(known) < _FEWEST:
        return result
    ranks = np.argsort(np.argsort(scores[known])) - (len(known) - 1) / 2.0
    raw = ranks / sigma[known]
    raw[raw > 0.0] *= 0.5 / raw[raw > 0.0].sum()
    raw[raw < 0.0] *= -0.5 / raw[raw < 0.0].sum()
    result[known] = raw
    return result


def run(market: Panel, score: Score, every: int) -> Result:
    """Return the result of one book: decided at a close, filled at the next open, quantities held until the next.

    Parameters
    ----------
    market : Panel
        Bars and funding.
    score : callable
        Gives the scores of a panel, of shape (hours, symbols), each from bars closed by then.
    every : int
        Hours between rebalances, at multiples of it since midnight.

    Returns
    -------
    Result
        Returns before costs, funding paid, and costs.
    """
    scores, sigma = score(market), volatility(market.closes)
    length, count = market.opens.shape
    age = np.cumsum(np.isfinite(market.closes), axis=0)
    before, costs = np.zeros(length), np.zeros(length)
    held, wanted = np.zeros(count), np.zeros(count)
    first_hour = market.start.hour
    for t in range(length):
        opening, close = market.opens[t], market.closes[t]
        here = np.isfinite(opening)
        if t > 0:
            last = market.closes[t - 1]
            # from the last close to this open, or out at the last close where a symbol is gone
            moved = np.where(here, opening - last, 0.0)
            before[t] += np.nansum(held * np.where(np.isfinite(last), moved, 0.0))
            gone = ~here & (held != 0.0)
            costs[t] += COST * np.nansum(np.abs(held[gone]) * last[gone])
            held[gone] = wanted[gone] = 0.0
        before[t] -= np.nansum(held * np.where(here, opening, 0.0) * market.rates[t])
        traded = np.where(here, wanted - held, 0.0)
        costs[t] += COST * np.nansum(np.abs(traded) * np.where(here, opening, 0.0))
        held = held + traded
        before[t] += np.nansum(held * np.where(here, close - opening, 0.0))
        if (first_hour + t + 1) % every == 0:
            chosen = np.where(here & (age[t] > YOUNGEST), scores[t], np.nan)
            wanted = np.where(here, weights(chosen, sigma[t]) / np.where(here, close, 1.0), 0.0)
    return Result(before, costs)


def _sharpe(returns: FloatArray) -> float:
    return float(returns.mean() / returns.std() * math.sqrt(HOURS_PER_YEAR))
