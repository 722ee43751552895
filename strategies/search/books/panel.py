"""The in-sample market of books: what many books of one search window share, each computed once.

Belongs here: scores at the rebalance bars, weights over time, runs inside the window. Does not belong here: fitness
(`strategies.search.books.fitness`), the objective of tuning (`strategies.search.books.objective`), the kernel
(`backtester`).

No look-ahead: the market is cut at the end of the window, and every score is one of the language, which reads bars
closed by then. Bars before the window warm scores and volatilities up.
"""

import threading
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np

from backtester.evaluation.book_evaluation import BookEvaluation, PreparedMarket
from backtester.simulation import book_kernel as kernel
from backtester.simulation.book_market import BookMarket
from backtester.simulation.books import BookResult, BookRules, run_values_at
from backtester.simulation.costs import Costs
from backtester.simulation.lanes import DEFAULT_CAPITAL
from backtester.statistics.windows import Window
from features.array_types import FloatArray, IntArray
from features.bars import Timeframe
from strategies.language.book import Book, interval
from strategies.search.books.code_generation import score_text
from strategies.search.books.genome import BookGenome, Score, rebalances_on
from strategies.search.map_elites.archive import standardised
from strategies.untrusted.compiler import compile_book
from strategies.validation.duplicates import daily_weights

MOST_BYTES: Final = 2**29
"""Scores at rebalance bars that are kept for the next genome."""
THIRDS: Final = ("first third", "middle third", "last third")
_DAY: Final = timedelta(days=1)
Term: TypeAlias = tuple[str, tuple[int, ...], bool, bool]
"""Family, numbers, whether scaled, whether ranked."""


class InSample:
    """A market up to the end of a search window, and the scores on it.

    Parameters
    ----------
    prepared : PreparedMarket
        Bars and features; what it holds after the window is not read.
    window : Window
        In which books trade; it ends where the holdout begins.
    costs : Costs, optional
        As for `backtest_book`.
    capital : float
        As for `backtest_book`.
    most_bytes : int
        See `MOST_BYTES`.

    Raises
    ------
    ValueError
        If the market has no bars in the window.
    """

    def __init__(
        self,
        prepared: PreparedMarket,
        window: Window,
        *,
        costs: Costs | None = None,
        capital: float = DEFAULT_CAPITAL,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.window = window
        self.costs = costs or Costs()
        self.capital = capital
        self.market: BookMarket = prepared.market.until(window.end)
        self.begin = self.market.row_at(window.start)
        if self.begin >= len(self.market.ts) - 1:
            msg = (
                f"the market has no bars from {window.start} to {window.end}; "
                f"give bars of that window or another window"
            )
            raise ValueError(msg)
        self._prepared = prepared
        self._most_bytes = most_bytes
        self._grid = self.market.rebalance_rows(interval(rebalances_on(self.market.timeframe)[0]))
        self._terms: dict[Term, FloatArray] = {}
        self._held = 0  # bytes of the terms
        self._lock = threading.Lock()

    @property
    def days(self) -> float:
        """Length of the window in days."""
        return self.window.length / _DAY

    def third(self, end: Window) -> tuple[BookMarket, int]:
        """Return the market of a part of the window and the row at which it begins."""
        market = self.market.until(end.end)
        return market, market.row_at(end.start)

    def columns(self, book: Book) -> dict[str, FloatArray]:
        """Return the features of a book up to the end of the window, by name, each of shape (n_bars, n_symbols)."""
        count = len(self.market.ts)
        return {name: column[:count] for name, column in self._prepared.columns(book.features()).items()}

    def run(self, book: Book) -> BookEvaluation:
        """Backtest a book on the window.

        Raises
        ------
        ValueError
            If the book's timeframe is another than the market's.
        """
        if book.timeframe != self.market.timeframe:
            msg = (
                f"{book.name} is a book on {book.timeframe}, the market has {self.market.timeframe}; "
                f"give a book on {self.market.timeframe}"
            )
            raise ValueError(msg)
        columns, market = self.columns(book), self.market
        result = run_values_at(
            market,
            book.rules,
            lambda rows: book.values_at(market, columns, rows),
            costs=self.costs,
            capital=self.capital,
            begin=self.begin,
        )
        return BookEvaluation(book.name, result)

    def run_genome(
        self, genome: BookGenome, rules: BookRules, market: BookMarket | None = None, begin: int | None = None
    ) -> BookResult:
        """Backtest a genome on the window, or on a part of it as `third` returns it.

        Parameters
        ----------
        genome : BookGenome
            What gives the scores.
        rules : BookRules
            Its rules.
        market : BookMarket, optional
            That of the part.
        begin : int, optional
            Row at which the part begins.

        Returns
        -------
        BookResult
            The same as of the compiled text.
        """
        return run_values_at(
            market or self.market,
            rules,
            lambda rows: self.values_at(genome, rows),
            costs=self.costs,
            capital=self.capital,
            begin=self.begin if begin is None else begin,
        )

    def values_at(self, genome: BookGenome, rows: IntArray) -> FloatArray:
        """Return the scores of a genome at some of its rebalance rows, shape (n_rows, n_symbols), NaN where unknown."""
        places = np.searchsorted(self._grid, rows)
        lead = genome.lead
        if len(genome.scores) == 1:
            values = lead.side * self._term(lead, ranked=False)[places]
        else:
            values = lead.side * self._term(lead, ranked=True)[places]
            for score in genome.scores[1:]:
                values = values + (score.side * score.mix) * self._term(score, ranked=True)[places]
        return self.market.fresh(values, rows, interval(genome.rebalance))

    def known(self, genome: BookGenome) -> float:
        """Return the share of the window's rebalance bars at which enough symbols have a known score."""
        rows = self.market.rebalance_rows(interval(genome.rebalance), begin=self.begin)
        if not len(rows):
            return 0.0
        known = ~np.isnan(self.values_at(genome, rows)) & self.market.member[rows]
        return float((known.sum(axis=1) >= kernel.FEWEST).mean())

    def prepare(self, genomes: Sequence[BookGenome]) -> None:
        """Compute the scores that some genomes read."""
        ranked = {(score, len(genome.scores) > 1) for genome in genomes for score in genome.scores}
        missing = {_term_of(score, many): score for score, many in ranked if _term_of(score, many) not in self._terms}
        books = {term: _book(score, self.market.timeframe, ranked=term[-1]) for term, score in missing.items()}
        if books:
            self._prepared.columns({name for book in books.values() for name in book.features()})
        for score, many in sorted(ranked):
            self._term(score, ranked=many)

    def weights(self, result: BookResult) -> FloatArray | None:
        """Return the target weights of a run day by day and symbol by symbol, as a form.

        Returns
        -------
        ndarray of shape (n_days * n_symbols,)
            Less their mean, of length 1: a product of two is their correlation. None where all are equal.
        """
        return standardised(daily_weights(result).reshape(-1))

    def _term(self, score: Score, *, ranked: bool) -> FloatArray:
        """Return a score at every bar of the grid, that of each symbol's last tradable bar."""
        term = _term_of(score, ranked)
        with self._lock:
            if term not in self._terms:
                book = _book(score, self.market.timeframe, ranked=ranked)
                self._terms[term] = book.values_at(self.market, self.columns(book), self._grid)
                self._held += self._terms[term].nbytes
            found = self._terms[term] = self._terms.pop(term)  # at the end: in the order in which they were asked for
            while self._held > self._most_bytes and len(self._terms) > 1:
                self._held -= self._terms.pop(next(iter(self._terms))).nbytes
        return found


@lru_cache(maxsize=4096)
def _book(score: Score, timeframe: Timeframe, *, ranked: bool) -> Book:
    """Return a score as a book: asked for when its features are computed, and again when its values are."""
    return compile_book(score_text(score, timeframe, ranked=ranked), "<score>")


def _term_of(score: Score, ranked: bool) -> Term:
    return score.family, score.numbers, score.scaled, ranked


def rules_of(genome: BookGenome) -> BookRules:
    """Return the rules of a genome, as its text has them."""
    return BookRules(
        interval(genome.rebalance),
        neutral=genome.neutral,
        long=genome.share if genome.direction != "short" else 0.0,
        short=genome.share if genome.direction != "long" else 0.0,
        size=genome.size,
        band=genome.band,
        keep=genome.keep,
    )
