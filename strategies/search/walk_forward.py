"""Parameters chosen on a window and traded on the next one, again and again: what tuning would have earned.

Belongs here: tuning in each training window, running the choice on the test after it, the joined result. Does not
belong here: how windows are split (`backtester.statistics.windows`), the estimator (`strategies.search.tuning`), pages.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from backtester.evaluation.book_breakdown import FixedCapital, book_episodes, on_fixed_capital
from backtester.evaluation.book_evaluation import PreparedMarket
from backtester.simulation.costs import Costs, MarginRules
from backtester.statistics.overfitting import LAGS, sharpe_se_newey_west
from backtester.statistics.windows import Fold, Window
from features.array_types import FloatArray, IntArray
from features.bars import Timeframe
from features.feature_manager import FeatureManager
from strategies.language.book import Book
from strategies.language.strategy import Strategy
from strategies.search.books.objective import ScoredBook, tune_book
from strategies.search.books.panel import InSample
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
    chosen : Strategy or Book
        The version with the best objective in training; the one that was given where none was better.
    train : Scored or ScoredBook
        Its result in training.
    test : PanelRun or BookTest
        Its result in the test, with episodes.
    written : PanelRun or BookTest
        The test's result of the version that was given.
    tried : tuple of Scored or ScoredBook
        Every version that was evaluated in training.
    """

    fold: Fold
    chosen: Strategy | Book
    train: Scored | ScoredBook
    test: "PanelRun | BookTest"
    written: "PanelRun | BookTest"
    tried: tuple[Scored | ScoredBook, ...]


@dataclass(frozen=True, eq=False)
class BookTest:
    """A book in one test.

    Attributes
    ----------
    pooled : FixedCapital
        Its result.
    episodes : ndarray of shape (n_episodes,)
        Results of the independent episodes of trades.
    gross_se : float, optional
        Standard error of the Sharpe ratio of one hour without fees and slippage; null without variance.
    """

    pooled: FixedCapital
    episodes: FloatArray
    gross_se: float | None


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
    def of(cls, tests: Sequence[PanelRun | BookTest]) -> "Joined":
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


def walk_book(
    prepared: PreparedMarket,
    book: Book,
    folds: Sequence[Fold],
    *,
    budget: int,
    seed: int,
    done: Callable[[Step], object] = lambda _: None,
) -> list[Step]:
    """Tune a book in each training window and run the choice on the test after it.

    Parameters
    ----------
    prepared : PreparedMarket
        Up to the last test's end, from as early as the slowest version needs.
    book : Book
        The version as it is written.
    folds, budget, seed, done
        As for `walk`; the windows begin and end with full bars.

    Returns
    -------
    list of Step
        In order of time.

    Raises
    ------
    ValueError
        If a window has no bars, or the book cannot be evaluated in it.

    Notes
    -----
    No look-ahead: each choice is made on a market that is cut where its test begins. A test begins flat, with scores
    that earlier bars have warmed up.
    """
    steps = []
    for fold in folds:
        tuned = tune_book(prepared, fold.train, book, budget=budget, seed=seed)
        best = tuned.best or tuned.parent
        test = _book_test(prepared, fold, best.strategy)
        written = test if best is tuned.parent else _book_test(prepared, fold, book)
        steps.append(Step(fold, best.strategy, best, test, written, tuned.tried))
        done(steps[-1])
    return steps


def _book_test(prepared: PreparedMarket, fold: Fold, book: Book) -> BookTest:
    found = InSample(prepared, fold.test).run(book)
    free = InSample(prepared, fold.test, costs=Costs(taker_fee=0.0, slippage=0.0)).run(book)
    error = sharpe_se_newey_west(on_fixed_capital(free).present_returns, LAGS)
    return BookTest(on_fixed_capital(found), book_episodes(found), error)


def _panel(
    manager: FeatureManager,
    symbols: Sequence[str],
    window: Window,
    timeframes: Sequence[Timeframe],
    rules: Mapping[str, MarginRules] | None,
) -> Panel:
    return Panel.read(manager, symbols, window, timeframes=timeframes, rules=rules)
