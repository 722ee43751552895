"""The library: which strategies and books there are.

Belongs here: finding and checking their files. Does not belong here: which of them are active (the warehouse's
ledger knows), untrusted text (`strategies.untrusted.compiler`).

A strategy is its file: there is no other list, so there can be no entry without code, and since the file's name is
the strategy's name, no two can share one.
"""

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar

from strategies.language.book import Book
from strategies.language.strategy import Strategy, StrategyError, Written
from strategies.untrusted.source_text import strange_character, why_strange

LIBRARY: Final = Path(__file__).parent / "library"
"""Folder of the strategies that come with the platform."""


BOOKS: Final = Path(__file__).parent / "books"
"""Folder of the books that come with the platform."""

Kind = TypeVar("Kind", bound=Written)


def load_books(folder: Path = BOOKS) -> list[Book]:
    """Return every book of a folder, made with its default parameters, sorted by name.

    Parameters
    ----------
    folder : Path
        Folder of trusted files, one book each. They are imported: text from elsewhere belongs to the compiler.

    Raises
    ------
    StrategyError
        If the folder is missing, or a file does not hold exactly one sound book named as the file. The message begins
        with file and line.
    """
    return [load_book(path) for path in library_files(folder)]


def load_library(folder: Path = LIBRARY) -> list[Strategy]:
    """Return every strategy of a folder, made with its default parameters, sorted by name.

    Parameters
    ----------
    folder : Path
        Folder of trusted files, one strategy each. They are imported: text from elsewhere belongs to the compiler.

    Raises
    ------
    StrategyError
        If the folder is missing, or a file does not hold exactly one sound strategy named as the file. The message
        begins with file and line.
    """
    return [load_file(path) for path in library_files(folder)]


def library_files(folder: Path = LIBRARY) -> list[Path]:
    """Return the strategy files of a folder, sorted by name, none of them loaded; see `load_library`."""
    if not folder.is_dir():
        msg = f"{folder}: folder not found; pass a folder of strategy files"
        raise StrategyError(msg)
    return [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]


def load_file(path: Path) -> Strategy:
    """Return the one strategy of a trusted file, made with its default parameters.

    Parameters
    ----------
    path : Path
        A Python file.

    Raises
    ------
    StrategyError
        As for `load_library`.
    """
    return _loaded(path, Strategy)


def load_book(path: Path) -> Book:
    """Return the one book of a trusted file, made with its default parameters.

    Parameters
    ----------
    path : Path
        A Python file.

    Raises
    ------
    StrategyError
        As for `load_books`.
    """
    return _loaded(path, Book)


def _loaded(path: Path, kind: type[Kind]) -> Kind:
    module, word = _imported(path), kind.__name__.lower()
    classes = [
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, kind) and member.__module__ == module.__name__
    ]
    if len(classes) != 1:
        names = ", ".join(member.__name__ for member in classes) or "none"
        msg = f"{path}:1: a {word} file holds exactly one {word} class, this one holds {names}"
        raise StrategyError(msg)
    strategy: Kind = classes[0]()
    text = strategy.source()  # read now: the file may change while this process runs the code that it held
    strange = strange_character(text)
    if strange is not None:  # a tuned version is compiled from this text
        line = inspect.getsourcelines(classes[0])[1] + text.count("\n", 0, strange)
        msg = f"{path}:{line}: {why_strange(text[strange])}"
        raise StrategyError(msg)
    if strategy.name != path.stem:
        msg = f"{path}:1: the {word} is named {strategy.name}, its file {path.stem}; give both the same name"
        raise StrategyError(msg)
    return strategy


def _imported(path: Path) -> ModuleType:
    """Import a file by its package name where it is in the library, so that its class exists once in the process."""
    folder = path.parent.resolve()
    inside = folder in {LIBRARY.resolve(), BOOKS.resolve()}
    name = f"strategies.{folder.name}.{path.stem}" if inside else f"_strategy_{path.stem}"
    if inside and name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        msg = f"{path}:1: not a Python file"
        raise StrategyError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # the class must find its module to read its own text
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        if isinstance(error, OSError):
            raise  # of the disk, and no fault of the file
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else 1)
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        msg = f"{path}:{line}: {reason}"
        raise StrategyError(msg) from error
    return module
