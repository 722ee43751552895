"""The strategy or book that a person named, loaded, with its parameters.

Belongs here: loading one of the library or compiling a file, and the error of each. Does not belong here: what can be
checked without loading (`blofin_assets.cli.idea`), running.
"""

from collections.abc import Sequence

from blofin_assets.cli.idea import check_names, idea_of, numbers
from blofin_assets.shared.fence import Failed, fenced
from blofin_resources.errors import BlofinError
from strategies import registry
from strategies.language.book import Book
from strategies.language.strategy import Strategy
from strategies.untrusted.compiler import compile_file


def loaded(name: str, example: str) -> Strategy | Book:
    """Return a strategy or book of the library by name, or compile a file, which is never executed as Python.

    Parameters
    ----------
    name : str
        Of the library, or a path that ends in `.py`.
    example : str
        A whole command, for the message.

    Raises
    ------
    BlofinError
        If there is none, or its file cannot be loaded.
    """
    books = {path.stem: path for path in registry.library_files(registry.BOOKS)}
    strategies = {path.stem: path for path in registry.library_files(registry.LIBRARY)}
    made: Strategy | Book | Failed
    if name in books:
        made = fenced(registry.load_book, books[name])
    elif name in strategies:
        made = fenced(registry.load_file, strategies[name])
    else:
        return compile_file(idea_of(name, example).path)
    if isinstance(made, Failed):
        msg = f"{name} cannot be loaded: {made.reason}"
        raise BlofinError(msg)
    return made


def with_parameters(named: str, pairs: Sequence[str], example: str) -> Strategy | Book:
    """Return what `loaded` does, with the values of `name=number` pairs.

    Parameters
    ----------
    named : str
        As for `loaded`.
    pairs : sequence of str
        As typed.
    example : str
        As for `loaded`.

    Returns
    -------
    Strategy or Book
        The version with these values.

    Raises
    ------
    BlofinError
        If it cannot be loaded, or a pair is malformed or names no parameter.
    StrategyError
        If a value is out of range.
    """
    found = loaded(named, example)
    if not pairs:
        return found
    idea = idea_of(named, example)
    values = numbers(idea, pairs)
    check_names(idea, values, list(found.parameters))
    return found.with_parameters(**values)
