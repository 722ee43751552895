"""The library: which strategies there are.

Belongs here: finding and checking strategy files. Does not belong here: which of them are active (the warehouse's
ledger knows), untrusted text (`strategies.compiler`).

A strategy is its file: there is no other list, so there can be no entry without code, and since the file's name is
the strategy's name, no two can share one.
"""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final

from strategies.base import Strategy, StrategyError

LIBRARY: Final = Path(__file__).parent / "library"
"""Folder of the strategies that come with the platform."""


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
    if not folder.is_dir():
        msg = f"{folder}: no such folder of strategies"
        raise StrategyError(msg)
    return [load_file(path) for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]


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
    module = _imported(path)
    classes = [
        given
        for given in vars(module).values()
        if isinstance(given, type) and issubclass(given, Strategy) and given.__module__ == module.__name__
    ]
    if len(classes) != 1:
        names = ", ".join(given.__name__ for given in classes) or "none"
        msg = f"{path}:1: a strategy file holds exactly one strategy class, this one holds {names}"
        raise StrategyError(msg)
    strategy: Strategy = classes[0]()
    strategy.source()  # read now: the file may change while this process runs the code that it held
    if strategy.name != path.stem:
        msg = f"{path}:1: the strategy is named {strategy.name}, its file {path.stem}; give both the same name"
        raise StrategyError(msg)
    return strategy


def _imported(path: Path) -> ModuleType:
    """Import a file by its package name where it is in the library, so that its class exists once in the process."""
    inside = path.parent.resolve() == LIBRARY
    name = f"strategies.library.{path.stem}" if inside else f"_strategy_{path.stem}"
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
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else 1)
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        msg = f"{path}:{line}: {reason}"
        raise StrategyError(msg) from error
    return module
