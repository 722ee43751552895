"""How good a version looks inside a search window: by inner folds, so that one lucky week does not decide.

Belongs here: the objective that tuning and designing maximise. Does not belong here: what to try (`tuning`,
`search`), the exam's score (`backtester.pooling`).

The window is split into consecutive folds of equal length, and a version is run once over the whole. Each fold has
the user's score, from the trades that ended in it and its hours of pooled returns; the objective is the mean of these
scores less their standard error. A fold with fewer trades than an exam of its length would need loses points for each
one missing, so that not trading at all is never the answer.

No look-ahead: a judgement rests on the panel's window alone, which ends where the exam starts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from backtester import kernel
from backtester.bars import Floats, to_micros
from backtester.lanes import LaneResult, run_arrays
from backtester.metrics import HOURS_PER_YEAR, Moments, max_drawdown, score
from backtester.pooling import FEW_TRADES, PooledResult, pool
from backtester.windows import EXAM_LENGTH, Window
from strategies.base import Strategy
from strategies.evolution.panel import Panel

FOLDS: Final = 4
"""Inner folds: a week each in a full search window, as long as the exam."""

MISSING_TRADE: Final = 30.0
"""Points of score that a fold loses for each trade that it lacks."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One version in a search window.

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
        return float(np.mean(self.folds) - np.std(self.folds, ddof=1) / math.sqrt(len(self.folds)))


def judge(panel: Panel, strategy: Strategy, folds: int = FOLDS) -> Judged:
    """Run a version over the panel's window and score its folds.

    Parameters
    ----------
    panel : Panel
        Of the search window.
    strategy : Strategy
        The version.
    folds : int
        At least 2.

    Raises
    ------
    ValueError
        If the strategy declares none of the panel's timeframes, or its signals do not fit their bars.
    """
    wanted = [lane for lane in panel.packed(strategy) if lane.bars.timeframe in strategy.timeframes]
    book = run_arrays(wanted, trades=True, threads=1)
    results = [book.result(index) for index in range(len(wanted))]
    pooled = pool(results)
    names = ",".join(sorted(f"{each.symbol}:{each.timeframe}" for each in results))
    return Judged(strategy, pooled, _fold_scores(results, pooled, panel.window, folds), names)


def _fold_scores(results: Sequence[LaneResult], pooled: PooledResult, window: Window, folds: int) -> tuple[float, ...]:
    edges = np.linspace(to_micros(window.start), to_micros(window.end), folds + 1)
    ends, nets = _trades(results)
    needed = FEW_TRADES * (window.length / folds / EXAM_LENGTH)
    return tuple(
        _fold(nets[(ends > first) & (ends <= last)], _hours(pooled, float(first), float(last)), needed)
        for first, last in pairwise(edges)
    )


def _fold(nets: Floats, equity: Floats, needed: float) -> float:
    """Return the score of a fold from the net results of its trades and its pooled equity."""
    missing = MISSING_TRADE * max(0.0, needed - len(nets))
    if not len(nets):
        return -missing
    ratio = Moments.of(equity[1:] / equity[:-1] - 1.0).annual_sharpe(HOURS_PER_YEAR)
    found = score(float(np.mean(nets > 0.0)), 100.0 * float(np.mean(nets)), ratio, max_drawdown(equity))
    return (found or 0.0) - missing


def _hours(pooled: PooledResult, first: float, last: float) -> Floats:
    """Return pooled equity at the full hours of a fold, its first instant included."""
    inside = (pooled.hours >= first) & (pooled.hours <= last)
    found: Floats = np.maximum(pooled.equity[inside], 1e-9)
    return found


def _trades(results: Sequence[LaneResult]) -> tuple[Floats, Floats]:
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
