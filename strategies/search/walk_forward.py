"""Parameters chosen on a window and traded on the next one, again and again: what tuning would have earned.

Belongs here: tuning in each training window, running the choice on the test after it, the joined result. Does not
belong here: how windows are split (`backtester.statistics.windows`), the estimator (`strategies.search.tuning`), pages.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from backtester.simulation.costs import MarginRules
from backtester.statistics.windows import Fold, Window
from features.array_types import FloatArray, IntArray
from features.bars import Timeframe
from features.feature_manager import FeatureManager
from strategies.language.strategy import Strategy
from strategies.search.objective import Scored
from strategies.search.panel import Panel, PanelRun
from strategies.search.tuning import tune

MOST_FOLDS: Final = 500
"""Most steps of a walk: each reads two windows and tunes once."""


@dataclass(frozen=True, eq=False)
class Step:
    """One training window and the test after it.

    Attributes
    ----------
    fold : Fold
        The two windows.
    chosen : Strategy
        The version with the best objective in training; the one that was given where none was better.
    train : Scored
        Its result in training.
    test : PanelRun
        Its result in the test, with episodes.
    written : PanelRun
        The test's result of the version that was given.
    tried : tuple of Scored
        Every version that was evaluated in training.
    """

    fold: Fold
    chosen: Strategy
    train: Scored
    test: PanelRun
    written: PanelRun
    tried: tuple[Scored, ...]


@dataclass(frozen=True, eq=False)
class Joined:
    """Tests one after the other, as one result.

    Attributes
    ----------
    hours : ndarray of shape (n_hours,), int64
        Full hours, microseconds since 1970; where one test ends and the next begins, once.
    equity : ndarray of shape (n_hours,)
        Capital and PnL, starting capital = 1; not compounded.
    returns : ndarray of shape (n_returns,)
        Of the hours in which a bar closed.
    episodes : ndarray of shape (n_episodes,)
        Results of the independent episodes of trades.
    """

    hours: IntArray
    equity: FloatArray
    returns: FloatArray
    episodes: FloatArray

    @classmethod
    def of(cls, tests: Sequence[PanelRun]) -> "Joined":
        """Join tests that follow each other; each starts flat."""
        hours: list[npt.NDArray[np.int64]] = []
        curves: list[FloatArray] = []
        level = 1.0
        for test in tests:
            first = 1 if hours and test.pooled.hours[0] == hours[-1][-1] else 0
            hours.append(test.pooled.hours[first:])
            curves.append(level + test.pooled.equity[first:] - 1.0)
            level = float(curves[-1][-1])
        episodes = [test.episodes for test in tests if test.episodes is not None]
        return cls(
            np.concatenate(hours),
            np.concatenate(curves),
            np.concatenate([test.pooled.present_returns for test in tests]),
            np.concatenate(episodes) if episodes else np.empty(0),
        )


def walk(
    manager: FeatureManager,
    strategy: Strategy,
    symbols: Sequence[str],
    folds: Sequence[Fold],
    *,
    timeframes: Sequence[Timeframe],
    rules: Mapping[str, MarginRules] | None = None,
    budget: int,
    seed: int,
    done: Callable[[Step], object] = lambda _: None,
) -> list[Step]:
    """Tune a strategy in each training window and run the choice on the test after it.

    Parameters
    ----------
    manager : FeatureManager
        As of the last test's end or later.
    strategy : Strategy
        The version as it is written.
    symbols : sequence of str
        All of them are traded.
    folds : sequence of Fold
        As `backtester.statistics.windows.walk_forward` splits a window.
    timeframes : sequence of Timeframe
        Lanes to run.
    rules : dict of str to MarginRules, optional
        By symbol.
    budget : int
        Evaluations in each training window, the written version's own among them.
    seed : int
        Of the estimator, the same in every window.
    done : callable
        Called after each step.

    Returns
    -------
    list of Step
        In order of time.

    Raises
    ------
    ValueError
        If a window has no bars, or the strategy cannot be evaluated in it.

    Notes
    -----
    No look-ahead: each choice is made on a panel that ends where its test begins.
    """
    steps = []
    for fold in folds:
        panel = _panel(manager, symbols, fold.train, timeframes, rules)
        tuned = tune(panel, strategy, budget=budget, seed=seed)
        best = tuned.best or tuned.parent
        ahead = _panel(manager, symbols, fold.test, timeframes, rules)
        test = ahead.run(best.strategy, evidence=True)
        written = test if best is tuned.parent else ahead.run(strategy, evidence=True)
        steps.append(Step(fold, best.strategy, best, test, written, tuned.tried))
        done(steps[-1])
    return steps


def _panel(
    manager: FeatureManager,
    symbols: Sequence[str],
    window: Window,
    timeframes: Sequence[Timeframe],
    rules: Mapping[str, MarginRules] | None,
) -> Panel:
    return Panel.read(manager, symbols, window, timeframes=timeframes, rules=rules)
