"""The embedded designer of books: quality-diversity search over the language, needing no key and no network.

Belongs here: `search_books`. Does not belong here: the course of a search and its budget
(`strategies.search.map_elites.loop`), what a genome is (`genome`), its fitness (`fitness`), the holdout.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

from backtester.evaluation.book_evaluation import PreparedMarket
from backtester.simulation.costs import Costs
from backtester.simulation.lanes import DEFAULT_CAPITAL
from backtester.statistics.windows import Window
from features.array_types import FloatArray
from strategies.language.book import Book
from strategies.search.books.code_generation import genome_of, line_of, name_of, rendered
from strategies.search.books.fitness import CELLS, BookFitness
from strategies.search.books.genome import BookFactory, BookGenome, read_by
from strategies.search.books.panel import InSample
from strategies.search.books.vocabulary import SCORES
from strategies.search.map_elites.loop import MOST_SECONDS, Designs, Progress, Search
from strategies.untrusted.compiler import compile_book

BookDesigns: TypeAlias = Designs[BookGenome, Book]


def search_books(
    prepared: PreparedMarket,
    window: Window,
    known: Sequence[Book] = (),
    *,
    budget: int,
    seed: int,
    finalists: int = 5,
    taken: Collection[str] = (),
    emphasis: Mapping[str, float] | None = None,
    costs: Costs | None = None,
    capital: float = DEFAULT_CAPITAL,
    threads: int = 1,
    on_progress: Progress | None = None,
    seconds: float = MOST_SECONDS,
    clock: Callable[[], float] = time.process_time,
) -> BookDesigns:
    """Search for books that trade well, each in its own way.

    Parameters
    ----------
    prepared : PreparedMarket
        Bars and features, from as early as scores of 30 days and volatilities need before the window.
    window : Window
        The search window; it ends where the holdout begins, and nothing after its end is read.
    known : sequence of Book
        Known books of the market's timeframe, others are ignored. The search continues from those that it made itself,
        tuned or not; of others it tries the features. Finalists differ from all of them in their weights.
    budget : int
        Full evaluations; the cascade's rejects come on top.
    seed : int
        Of everything drawn.
    finalists : int
        Most finalists to return.
    taken : collection of str
        Names that are not free.
    emphasis : dict of str to float, optional
        Factor of the usual odds of drawing a family of scores; 0 excludes one. `emphasis_of` makes it from
        outcomes whose families are those of `families_of_book`.
    costs : Costs, optional
        As for `backtest_book`.
    capital : float
        As for `backtest_book`.
    threads : int
        Candidates evaluated at once; the result does not depend on it.
    on_progress : callable, optional
        Called with (evaluations done, budget).
    seconds : float
        Seconds on the clock after which no further genome is tried.
    clock : callable
        By default the processor seconds of this process.

    Returns
    -------
    Designs
        Finalists, trials and counts.

    Raises
    ------
    ValueError
        If budget or finalists is below 1, the emphasis leaves no family, or the market has no bars in the window.

    Notes
    -----
    No look-ahead: the market is cut at the end of the window.
    """
    in_sample = InSample(prepared, window, costs=costs, capital=capital)
    search = _BookSearch(in_sample, budget, seed, dict(emphasis or {}), threads, on_progress)
    usable = [book for book in known if book.timeframe == in_sample.market.timeframe]
    return search.run(usable, finalists, taken, seconds, clock)


def families_of_book(book: Book) -> list[str]:
    """Return the families of scores that read what a book reads, sorted."""
    names = book.features()
    return sorted(term.family for term in SCORES if read_by(term, names))


class _BookSearch(Search[BookGenome, Book, FloatArray | None]):
    """One run of `search_books`."""

    def __init__(
        self,
        in_sample: InSample,
        budget: int,
        seed: int,
        emphasis: dict[str, float],
        threads: int,
        on_progress: Progress | None,
    ) -> None:
        self._in_sample = in_sample
        self._genomes = BookFactory(in_sample.market.timeframe, emphasis)
        super().__init__(
            BookFitness(in_sample), self._genomes, budget, seed, cells=CELLS, threads=threads, on_progress=on_progress
        )

    def line(self, genome: BookGenome) -> str:
        return line_of(genome)

    def genomes_of(self, seed: Book) -> list[BookGenome]:
        """Return the genome of a book of this search and two near it; else some that read what it reads."""
        genome = genome_of(seed)
        if genome is not None:
            return [genome, *(self._genomes.mutate(self.rng, genome) for _ in range(2))]
        genomes = [self._genomes.of_features(self.rng, seed.features(), seed.rebalance) for _ in range(2)]
        return [genome for genome in genomes if genome is not None]

    def made(self, genome: BookGenome, used: set[str]) -> Book:
        name = name_of(genome, used)
        used.add(name)
        return compile_book(rendered(genome, name), name)

    def positions(self, known: Book) -> FloatArray | None:
        return self._in_sample.weights(self._in_sample.run(known).result)

    def resemblance(self, one: FloatArray | None, other: FloatArray | None) -> float:
        return 0.0 if one is None or other is None else float(one @ other)
