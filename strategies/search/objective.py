"""The in-sample objective: the mean score of inner folds less its standard error.

Belongs here: the objective that tuning and design maximise. Does not belong here: what to try
(`strategies.search.tuning`, `strategies.search.map_elites`), the holdout's score (`backtester.evaluation.pooling`).

A version is run once over the window, which is split into consecutive folds of equal length. The score of a fold is
computed from the trades that ended in it and its hourly pooled returns. A fold with fewer trades than a holdout of its
length would need loses points for each missing trade, so that not trading is never optimal.

No look-ahead: the objective depends on the panel's window alone, which ends where the holdout starts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from backtester.evaluation.pooling import FEW_TRADES, PooledResult, pool
from backtester.simulation import kernel
from backtester.simulation.bar_arrays import to_micros
from backtester.simulation.lanes import LaneResult, run_arrays
from backtester.statistics.metrics import HOURS_PER_YEAR, Moments, fall
from backtester.statistics.score import score
from backtester.statistics.windows import HOLDOUT_LENGTH, Window
from features.array_types import FloatArray
from strategies.language.strategy import Strategy
from strategies.search.panel import Panel

FOLDS: Final = 4
"""Inner folds; in a full search window each is a week, as long as the holdout."""

MISSING_TRADE: Final = 30.0
"""Points of score that a fold loses for each missing trade."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A version and its objective in a search window.

    Attributes
    ----------
    strategy : Strategy
        The version.
    pooled : PooledResult
        Of the whole window.
    folds : tuple of float
        Score of each fold, oldest first, after the loss for missing trades.
    lanes : str
        Lanes that were scored, as the trial ledger names them.
    """

    strategy: Strategy
    pooled: PooledResult
    folds: tuple[float, ...]
    lanes: str

    @property
    def objective(self) -> float:
        """Mean of the folds' scores less its standard error."""
        return mean_less_error(self.folds)


def mean_less_error(folds: Sequence[float]) -> float:
    """Return the mean of the folds' scores less its standard error."""
    return float(np.mean(folds) - np.std(folds, ddof=1) / math.sqrt(len(folds)))


def evaluate_objective(panel: Panel, strategy: Strategy, folds: int = FOLDS) -> Scored:
    """Run a version over the panel's window and score its folds.

    Parameters
    ----------
    panel : Panel
        Of the search window.
    strategy : Strategy
        The version.
    folds : int
        At least 2.

    Returns
    -------
    Scored
        Score of each fold, and the objective.

    Raises
    ------
    ValueError
        If the strategy declares none of the panel's timeframes, or its signals do not fit their bars.
    """
    wanted = [lane for lane in panel.packed(strategy) if lane.bars.timeframe in strategy.timeframes]
    output = run_arrays(wanted, trades=True, threads=1)
    results = [output.result(index) for index in range(len(wanted))]
    pooled = pool(results)
    names = ",".join(sorted(f"{result.symbol}:{result.timeframe}" for result in results))
    return Scored(strategy, pooled, _fold_scores(results, pooled, panel.window, folds), names)


def _fold_scores(results: Sequence[LaneResult], pooled: PooledResult, window: Window, folds: int) -> tuple[float, ...]:
    edges = np.linspace(to_micros(window.start), to_micros(window.end), folds + 1)
    ends, nets = _trades(results)
    needed = FEW_TRADES * (window.length / folds / HOLDOUT_LENGTH)
    return tuple(
        fold_score(nets[(ends > first) & (ends <= last)], *_hours(pooled, float(first), float(last)), needed)
        for first, last in pairwise(edges)
    )


def fold_score(
    nets: FloatArray, curve: FloatArray, returns: FloatArray, needed: float, year: float = HOURS_PER_YEAR
) -> float:
    """Return the score of a fold.

    Parameters
    ----------
    nets : ndarray of shape (n_trades,)
        Net results of its trades, as fractions of what was traded.
    curve : ndarray of shape (n_times,)
        Its part of the equity curve, as a multiple of the capital.
    returns : ndarray of shape (n_returns,)
        The returns in it.
    needed : float
        Trades that it should have.
    year : float
        Returns in a year.

    Returns
    -------
    float
        After the loss for missing trades.
    """
    missing = MISSING_TRADE * max(0.0, needed - len(nets))
    if not len(nets):
        return -missing
    ratio = Moments.of(returns).annual_sharpe(year)
    value = score(float(np.mean(nets > 0.0)), 100.0 * float(np.mean(nets)), ratio, fall(curve - curve[0] + 1.0))
    return (value or 0.0) - missing


def _hours(pooled: PooledResult, first: float, last: float) -> tuple[FloatArray, FloatArray]:
    """Return the pooled curve at the full hours of a fold, its first instant included, and the returns between them.

    An hour without bars has no return.
    """
    inside = (pooled.hours >= first) & (pooled.hours <= last)
    between = inside[1:] & inside[:-1]
    first_whole = len(pooled.returns) - len(between)  # a window that begins inside an hour has that hour's part first
    return pooled.equity[inside], pooled.returns[first_whole:][between & pooled.present[first_whole:]]


def _trades(results: Sequence[LaneResult]) -> tuple[FloatArray, FloatArray]:
    """Return when each trade ended, in microseconds since 1970, and its net result as a fraction of its notional."""
    ends, nets = [np.empty(0)], [np.empty(0)]
    for lane in results:
        rows = lane.trade_rows
        if rows is None or not len(rows):
            continue
        row = rows[:, kernel.T_EXIT_ROW].astype(np.int64)
        inside = np.minimum(row, len(lane.times) - 1)
        ends.append((lane.times[inside] + lane.step).astype(np.float64))
        net = rows[:, kernel.T_PNL] - rows[:, kernel.T_FEES] - rows[:, kernel.T_FUNDING]
        nets.append(net / (rows[:, kernel.T_ENTRY] * rows[:, kernel.T_QUANTITY]))
    return np.concatenate(ends), np.concatenate(nets)
