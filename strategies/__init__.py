"""Strategies: the language they are written in, the library, reading untrusted ones, and the search for new ones.

Belongs here: what turns features into signals, and what finds and compares strategies. Does not belong here: fills,
costs and metrics (`backtester`), anything that reads a database or a network.

Names are fetched from their modules on first use: the child process that reads untrusted text does not wait for the
search.
"""

from typing import TYPE_CHECKING, Final

from features.front_door import front_door

if TYPE_CHECKING:
    from strategies.language.across import across
    from strategies.language.book import Book, Weights
    from strategies.language.strategy import Features, Param, Signal, Strategy
    from strategies.registry import load_books, load_library
    from strategies.untrusted.compiler import compile_book, compile_strategy

__all__ = [
    "Book",
    "Features",
    "Param",
    "Signal",
    "Strategy",
    "Weights",
    "across",
    "compile_book",
    "compile_strategy",
    "load_books",
    "load_library",
]

_HOMES: Final = {
    "Book": "strategies.language.book",
    "Weights": "strategies.language.book",
    "across": "strategies.language.across",
    "compile_book": "strategies.untrusted.compiler",
    "load_books": "strategies.registry",
    "Features": "strategies.language.strategy",
    "Param": "strategies.language.strategy",
    "Signal": "strategies.language.strategy",
    "Strategy": "strategies.language.strategy",
    "compile_strategy": "strategies.untrusted.compiler",
    "load_library": "strategies.registry",
}

__getattr__: Final = front_door(__name__, _HOMES)
