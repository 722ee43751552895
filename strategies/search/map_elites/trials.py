"""Trials of the embedded search: what is measured of a genome, where its window is cut, what folds say of its returns.

Belongs here: the results of an evaluation and what they have in common whatever a genome is, of a strategy or a book.
Does not belong here: running a genome (`strategies.search.map_elites.fitness`, `strategies.search.books.fitness`),
which trials are kept (`strategies.search.map_elites.archive`).
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from backtester.simulation.bar_arrays import to_micros
from backtester.statistics.metrics import varies
from backtester.statistics.windows import Window, walk_forward
from features.array_types import FloatArray
from features.bars import HOUR_US

FOLDS: Final = 6
"""Folds of the inner part."""
PURGE: Final = timedelta(hours=24)
"""Kept free between the inner part and the check."""
CHECK_SHARE: Final = 0.25
"""Share of the search window that only the choice of finalists sees."""
HOPELESS: Final = -3.0
"""t-value of net returns of one part of the evidence below which a genome is not run on the whole."""

Rows: TypeAlias = npt.NDArray[np.intp]
Cell: TypeAlias = tuple[int, ...]
"""A way of trading: the place of a trial in the archive."""


class Genotype(Protocol):
    """What the search varies."""

    @property
    def key(self) -> str:
        """Text that tells it from any other."""
        ...


G = TypeVar("G", bound=Genotype)


@dataclass(frozen=True, eq=False)
class Trial(Generic[G]):
    """Result of one full evaluation of a genome over the whole search window.

    Parameters
    ----------
    genome : Genome
        What was tried.
    cell : Cell
        Its way of trading.
    fitness : float
        Of the inner part; minus infinity with too few trades.
    cost_adjusted_fitness : float
        Mean of the fitness and of the fitness without fees and slippage. It estimates what other levels and exits could
        reach, since those decide how often costs are paid.
    trades : int
        Of the search window.
    score, sharpe : float, optional
        Score and annualised Sharpe ratio of the search window, costs paid.
    returns : ndarray of shape (n_bars,)
        Returns of the search window, by the hour for strategies, by the bar for books.
    """

    genome: G
    cell: Cell
    fitness: float
    cost_adjusted_fitness: float
    trades: int
    score: float | None
    sharpe: float | None
    returns: FloatArray


@dataclass(frozen=True)
class Rejected(Generic[G]):
    """A genome that the cascade stopped before its full evaluation.

    Parameters
    ----------
    genome : Genome
        What was tried.
    stage : str
        A name of the evaluator's two stages: the first reveals no return, the second those of one part.
    sharpe : float, optional
        Annualised Sharpe ratio on that part, null at the first stage.
    trades : int
        Trades on that part.
    cost_adjusted_fitness : float
        As of a trial, on that part alone; minus infinity at the first stage.
    """

    genome: G
    stage: str
    sharpe: float | None = None
    trades: int = 0
    cost_adjusted_fitness: float = -math.inf


@dataclass(frozen=True, eq=False)
class Cut:
    """Where the search window's returns belong.

    Parameters
    ----------
    folds : tuple of ndarray
        Rows of returns of the inner folds. Times without bars are in none: they have no return.
    inner, check, whole : ndarray
        Rows of the inner part, of the check and of the whole window.
    """

    folds: tuple[Rows, ...]
    inner: Rows
    check: Rows
    whole: Rows

    @classmethod
    def of(
        cls, window: Window, has_bars: npt.NDArray[np.bool_], *, purge: timedelta = PURGE, step: int = HOUR_US
    ) -> "Cut":
        """Cut a search window, of whose returns those are kept that have bars in their time.

        Parameters
        ----------
        window : Window
            The search window.
        has_bars : ndarray of shape (n_returns,), bool
            Whether there are bars in the time of each return.
        purge : timedelta
            Kept free between the inner part and the check.
        step : int
            Time of one return in microseconds.

        Returns
        -------
        Cut
            Rows of each part.
        """

        def rows(part: Window) -> Rows:
            piece = _rows(window, part, step)
            kept: Rows = piece.start + np.flatnonzero(has_bars[piece])
            return kept

        (split,) = walk_forward(window, 1, purge=purge, first_train=window.length * (1.0 - CHECK_SHARE))
        inner = split.train
        folds = walk_forward(inner, FOLDS - 1)
        first = Window(inner.start, folds[0].test.start)
        pieces = [first, *(fold.test for fold in folds)]
        return cls(tuple(rows(period) for period in pieces), rows(inner), rows(split.test), np.flatnonzero(has_bars))

    def lasting_sharpe(self, returns: FloatArray) -> float:
        """Return the mean of the inner folds' Sharpe ratios of one return, less its standard error.

        `returns` has shape (n_returns,), of the whole window.
        """
        ratios = np.array([sharpe_of(returns[fold]) for fold in self.folds])
        error = float(ratios.std(ddof=1)) / math.sqrt(len(ratios))
        return float(ratios.mean()) - error


def _rows(window: Window, part: Window, step: int) -> slice:
    """Return the returns that begin and end inside a part."""
    origin = to_micros(window.start)
    first = -(-(to_micros(part.start) - origin) // step)
    return slice(first, (to_micros(part.end) - origin) // step)


def sharpe_of(returns: FloatArray) -> float:
    """Return the Sharpe ratio of one return; 0 without variance.

    `returns` has shape (n_returns,).
    """
    mean, variance = float(returns.mean()), float(returns.var())
    return mean / math.sqrt(variance) if varies(mean, variance) else 0.0
