"""The in-sample objective of a book, and the tuning of its numbers.

Belongs here: the score of a book's folds, `tune_book`. Does not belong here: which values are tried
(`strategies.search.tuning`), the same for strategies (`strategies.search.objective`), the holdout's score.

As for strategies: the window is split into folds of equal length; the score of a fold is that of the trades that ended
in it and its bars' returns; a fold with fewer trades than a holdout of its length would need loses points for each
missing one.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np

from backtester.evaluation.book_breakdown import FixedCapital, on_fixed_capital
from backtester.evaluation.book_evaluation import BookEvaluation, PreparedMarket
from backtester.evaluation.pooling import FEW_TRADES
from backtester.simulation import book_kernel as kernel
from backtester.simulation.books import net_of
from backtester.simulation.costs import Costs
from backtester.simulation.lanes import DEFAULT_CAPITAL
from backtester.statistics.metrics import bars_per_year
from backtester.statistics.windows import LONG_HOLDOUT_LENGTH, Window
from strategies.language.book import Book
from strategies.search.books.panel import InSample
from strategies.search.objective import FOLDS, fold_score, mean_less_error
from strategies.search.tuning import MOST_SECONDS, Tuned, Values, tune_by

_UNIVERSE: Final = "universe"


@dataclass(frozen=True, eq=False)
class ScoredBook:
    """A version of a book and its objective in a search window.

    Attributes
    ----------
    strategy : Book
        The version.
    evaluation : BookEvaluation
        Of the whole window.
    folds : tuple of float
        Score of each fold, oldest first, after the loss for missing trades.
    lanes : str
        What was traded, as the trial ledger names it.
    """

    strategy: Book
    evaluation: BookEvaluation
    folds: tuple[float, ...]
    lanes: str

    @property
    def objective(self) -> float:
        """Mean of the folds' scores less its standard error."""
        return mean_less_error(self.folds)

    @cached_property
    def pooled(self) -> FixedCapital:
        """The whole window on capital that is the same at the begin of each bar, as strategies are measured."""
        return on_fixed_capital(self.evaluation)


def evaluate_book(in_sample: InSample, book: Book, folds: int = FOLDS) -> ScoredBook:
    """Run a version over the search window and score its folds.

    Parameters
    ----------
    in_sample : InSample
        The window's market.
    book : Book
        The version.
    folds : int
        At least 2.

    Returns
    -------
    ScoredBook
        Score of each fold, and the objective.

    Raises
    ------
    ValueError
        If the book's timeframe is another than the market's, or a feature cannot be computed.
    """
    evaluation = in_sample.run(book)
    result = evaluation.result
    trades = np.concatenate([tranche.trades for tranche in result.tranches])
    ended, share = trades[:, kernel.E_EXIT_ROW] - result.begin, net_of(trades) / trades[:, kernel.E_BASIS]
    needed = FEW_TRADES * (in_sample.window.length / folds / LONG_HOLDOUT_LENGTH)
    edges = np.linspace(0, len(result.equity), folds + 1).astype(int)
    scores = []
    for first, last in pairwise(edges):
        before = result.equity[first - 1] if first else result.capital
        curve = np.concatenate([[before], result.equity[first:last]]) / result.capital
        inside = (ended >= first) & (ended < last)
        returns = result.returns[first:last][evaluation.there[first:last]]
        year = bars_per_year(result.market.timeframe)
        scores.append(fold_score(share[inside], curve, returns, needed, year))
    return ScoredBook(book, evaluation, tuple(scores), f"{_UNIVERSE}:{book.timeframe}")


def tune_book(
    prepared: PreparedMarket,
    window: Window,
    book: Book,
    *,
    budget: int,
    seed: int,
    first: Sequence[Values] = (),
    known: Iterable[str] = (),
    costs: Costs | None = None,
    capital: float = DEFAULT_CAPITAL,
    seconds: float = MOST_SECONDS,
    clock: Callable[[], float] = time.process_time,
) -> Tuned[Book, ScoredBook]:
    """Search for better values of the declared parameters of a book.

    Parameters
    ----------
    prepared, window, costs, capital
        As for `search_books`.
    book : Book
        The version to improve; its own evaluation counts in the budget.
    budget, seed, first, known, seconds, clock
        As for `strategies.search.tuning.tune`.

    Returns
    -------
    Tuned
        Every version tried, and the best of them.

    Raises
    ------
    ValueError
        If the book itself cannot be evaluated in the window.
    """
    in_sample = InSample(prepared, window, costs=costs, capital=capital)
    return tune_by(
        lambda version: evaluate_book(in_sample, version),
        book,
        budget=budget,
        seed=seed,
        first=first,
        known=known,
        seconds=seconds,
        clock=clock,
    )
