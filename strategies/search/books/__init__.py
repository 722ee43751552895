"""The embedded search for books, and the tuning of a book's numbers.

Belongs here: genomes of books, their weights, fitness and texts, `search_books`, `tune_book`. Does not belong here: the
course of a search and the archive, which strategies share (`strategies.search.map_elites`), the books that come with
the platform (`strategies.books`), the holdout.

How to use it::

    from strategies.search.books import search_books, tune_book

    prepared = PreparedMarket.of("60m", candles, funding, universe=members, contracts=contracts)
    window = Window(start, holdout_start)     # bars before its start warm features up; none after its end are read
    found = search_books(prepared, window, known, budget=600, seed=7, finalists=5, taken=names)
    found.finalists[0].strategy               # a `Book`, compiled by the untrusted compiler from `.strategy.source()`
    found.finalists[0].expected_sharpe        # of one bar; by it the finalists are ordered
    found.trials                              # one row for each try that saw returns: `map_elites.loop.TRIALS`
    found.evaluations, found.rejected, found.coverage, found.stopped

    tuned = tune_book(prepared, window, book, budget=40, seed=7, first=suggested, known=versions)
    tuned.parent.objective, tuned.best        # `ScoredBook`; `best` is None where nothing beats the parent
    tuned.tried                               # every version that was evaluated, each a try

    in_sample = InSample(prepared, window)    # what both run on; give it in place of the two to share it
    evaluate_book(in_sample, book).objective  # the in-sample score of one book
"""

from strategies.search.books.objective import ScoredBook, evaluate_book, tune_book
from strategies.search.books.panel import InSample
from strategies.search.books.search import BookDesigns, families_of_book, search_books

__all__ = [
    "BookDesigns",
    "InSample",
    "ScoredBook",
    "evaluate_book",
    "families_of_book",
    "search_books",
    "tune_book",
]
