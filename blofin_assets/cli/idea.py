"""What a person named on the command line: the file of a strategy or book, its parameters, and ranges of them.

Belongs here: checks of arguments that need neither the strategy loaded nor the warehouse, so that a typo is answered at
once. Does not belong here: loading (`blofin_assets.cli.loading`), anything that imports a library of numbers.
"""

import ast
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from blofin_resources.errors import BlofinError
from blofin_resources.suggestions import did_you_mean

MOST_POINTS: Final = 1_000_000
"""Most points of a sweep."""

LIBRARIES: Final = ("library", "books")
"""Folders of `strategies/` with a file for each strategy and each book."""

FORMATS: Final = ("parquet", "csv")
"""Formats of exported files."""

EXPORTED: Final = ("trades", "equity", "returns", "positions", "signals")
"""What is exported of a backtest, a file each."""

BOOK_EXPORTED: Final = EXPORTED[:-1]
"""The same of a book, which has no signals."""

_ROUNDING: Final = 1e-9
"""What a range may lack of a whole number of steps: 0.3 less 0.2 is a little less than 0.1."""
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@dataclass(frozen=True)
class Idea:
    """A strategy or book that was named, not loaded.

    Attributes
    ----------
    name : str
        As typed.
    path : Path
        Its file.
    parameters : tuple of str
        Names of its parameters, as its text declares them.
    trusted : bool
        Whether it is of the library; other files are compiled, never executed.
    book : bool
        Whether it is a book of the library; of another file this is known once it is compiled.
    """

    name: str
    path: Path
    parameters: tuple[str, ...]
    trusted: bool
    book: bool


@dataclass(frozen=True)
class Range:
    """Values of one parameter, as typed.

    Attributes
    ----------
    name : str
        The parameter.
    low, high : float
        Its ends, both included; equal where one value was given.
    step : float, optional
        Null where none was given.
    """

    name: str
    low: float
    high: float
    step: float | None = None

    def values(self, step: float) -> tuple[float, ...]:
        """Return the values from the low end by steps, at most the high end."""
        if self.low == self.high:
            return (self.low,)
        count = math.floor((self.high - self.low) / step + _ROUNDING) + 1
        return tuple(float(f"{self.low + place * step:.12g}") for place in range(count))


def idea_of(name: str, example: str) -> Idea:
    """Find a strategy or book by name, or a file.

    Parameters
    ----------
    name : str
        Of the library, or a path that ends in `.py`.
    example : str
        A whole command, for the message.

    Raises
    ------
    BlofinError
        If there is none.
    """
    path = Path(name)
    if path.suffix == ".py":
        if not path.is_file():
            msg = f"no file {name}; {example}"
            raise BlofinError(msg)
        return Idea(name, path, _declared(path), trusted=False, book=False)
    files = _library()
    if name not in files:
        hint = did_you_mean([name], files) or f"; there are {', '.join(files)}; or give a .py file"
        msg = f"no strategy or book {name!r}{hint}"
        raise BlofinError(msg)
    found = files[name]
    return Idea(name, found, _declared(found), trusted=True, book=found.parent.name == "books")


def check_names(idea: Idea, names: Iterable[str], have: Sequence[str] | None = None) -> None:
    """Refuse parameters that it does not have.

    Parameters
    ----------
    idea : Idea
        Strategy or book.
    names : iterable of str
        Of parameters.
    have : sequence of str, optional
        Those that it has, where it is loaded; by default those that its text declares.

    Raises
    ------
    BlofinError
        If one is unknown.
    """
    known = idea.parameters if have is None else have
    unknown = [name for name in names if name not in known]
    if unknown and (known or have is not None):  # where no text declares any, loading it tells
        hint = did_you_mean(unknown, known)
        msg = (
            f"{idea.name} has no parameter {', '.join(unknown)}{hint}; its parameters are {', '.join(known) or 'none'}"
        )
        raise BlofinError(msg)


def split_named(text: str) -> tuple[str, list[str]]:
    """Return the name and the `name=number` pairs of a text such as `ema_crossover:fast=5,ratio=3`."""
    name, _, rest = text.partition(":")
    return name, [pair for pair in rest.split(",") if pair.strip()]


def numbers(idea: Idea, pairs: Sequence[str]) -> dict[str, float]:
    """Return the values of `name=number` pairs.

    Parameters
    ----------
    idea : Idea
        Whose parameters they are.
    pairs : sequence of str
        As typed.

    Raises
    ------
    BlofinError
        If one is malformed or unknown.
    """
    values = {}
    for text in pairs:
        name, sign, value = text.partition("=")
        number = _number(value)
        if not sign or number is None:
            have = ", ".join(idea.parameters) or "none"
            msg = f"--param {text!r} is not name=number; {idea.name} has {have}"
            raise BlofinError(msg)
        values[name.strip()] = number
    check_names(idea, values)
    return values


def ranges(idea: Idea, texts: Sequence[str], *, grid: bool) -> list[Range]:
    """Return the ranges of `name=low:high:step` texts; one number fixes a parameter.

    Parameters
    ----------
    idea : Idea
        Whose parameters they are.
    texts : sequence of str
        As typed.
    grid : bool
        Whether every point of them will be run.

    Returns
    -------
    list of Range
        In the order given, those that are fixed included.

    Raises
    ------
    BlofinError
        If one is malformed, empty, reversed, unknown or named twice, none has more than one value, or a grid has more
        than `MOST_POINTS`.
    """
    found: dict[str, Range] = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        parts = [_number(part) for part in value.split(":")]
        whole = [part for part in parts if part is not None]
        if not sign or not name or len(whole) < len(parts) or len(whole) not in {1, 2, 3}:
            msg = f"--param {text!r} is not name=low:high:step; for example: --param {_first(idea)}=5:15:1"
            raise BlofinError(msg)
        if name in found:
            msg = f"--param {name} is given twice: {text!r}; give one range of it"
            raise BlofinError(msg)
        found[name] = _range(text, name, whole)
    check_names(idea, found)
    if all(each.low == each.high for each in found.values()):
        have = ", ".join(idea.parameters) or "none"
        msg = f"nothing to sweep: give a range, --param {_first(idea)}=low:high:step; {idea.name} has {have}"
        raise BlofinError(msg)
    if grid:
        refuse_large(math.prod(len(each.values(each.step)) for each in found.values() if each.step))
    return list(found.values())


def refuse_large(points: int) -> None:
    """Refuse a grid of more than `MOST_POINTS`.

    Raises
    ------
    BlofinError
        If it is.
    """
    if points > MOST_POINTS:
        msg = f"the grid has {points:,} points, more than {MOST_POINTS:,}; widen the steps, or give --points N"
        raise BlofinError(msg)


def export_paths(folder: Path, names: Sequence[str], form: str, what: Sequence[str] = EXPORTED) -> list[Path]:
    """Return the files of an export.

    Parameters
    ----------
    folder : Path
        As typed.
    names : sequence of str
        Of the strategies.
    form : str
        As typed.
    what : sequence of str
        Of `EXPORTED`.

    Returns
    -------
    list of Path
        One of each for each name, none of which is there.

    Raises
    ------
    BlofinError
        If the format is unknown, the folder is a file, or one of the files is there.
    """
    if form not in FORMATS:
        msg = f"--format {form!r}{did_you_mean([form], FORMATS)}; there are {', '.join(FORMATS)}"
        raise BlofinError(msg)
    if folder.exists() and not folder.is_dir():
        msg = f"--export {folder} is a file; give a folder"
        raise BlofinError(msg)
    paths = [folder / f"{name}_{each}.{form}" for name in names for each in what]
    there = [path for path in paths if path.exists()]
    if there:
        msg = f"--export: {there[0]} is there already; delete it, or give another folder"
        raise BlofinError(msg)
    return paths


def length_of(text: str, option: str) -> timedelta:
    """Return a length of time such as 90d, 12h or 4w.

    Parameters
    ----------
    text : str
        As typed.
    option : str
        Where it was typed.

    Raises
    ------
    BlofinError
        If it is not one, or not above zero.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*([hdw])\s*", text.casefold())
    if match is None or int(match[1]) == 0:
        msg = f"{option} {text!r} is not a length of time; give hours, days or weeks, such as 36h, 90d or 4w"
        raise BlofinError(msg)
    return int(match[1]) * _UNITS[match[2]]


def _range(text: str, name: str, parts: list[float]) -> Range:
    low, high = parts[0], parts[-1] if len(parts) == 1 else parts[1]
    step = parts[2] if len(parts) == 3 else None  # noqa: PLR2004 - low, high and step
    if high < low:
        msg = f"--param {text!r} is reversed: {high:g} is below {low:g}; give {name}={high:g}:{low:g}"
        raise BlofinError(msg)
    if step is not None and step <= 0.0:
        msg = f"--param {text!r} has a step of {step:g}; give one above zero"
        raise BlofinError(msg)
    if step is not None and high > low and step > (high - low) * (1.0 + _ROUNDING):
        msg = (
            f"--param {text!r} has one value: its step is wider than the range; give a smaller step, or {name}={low:g}"
        )
        raise BlofinError(msg)
    if step is not None and (high - low) / step >= MOST_POINTS:
        refuse_large(math.floor((high - low) / step) + 1)
    return Range(name, low, high, step)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _first(idea: Idea) -> str:
    return idea.parameters[0] if idea.parameters else "name"


def _library() -> dict[str, Path]:
    """Return the files of the library by name, books first, as they are listed; nothing is imported."""
    spec = find_spec("strategies")
    if spec is None or spec.origin is None:
        return {}
    root = Path(spec.origin).parent
    files = [path for folder in reversed(LIBRARIES) for path in sorted((root / folder).glob("*.py"))]
    return {path.stem: path for path in files if path.name != "__init__.py"}


def _declared(path: Path) -> tuple[str, ...]:
    """Return the names that a text gives a `Param`; none where it cannot be read: loading it says why."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
        return ()
    return tuple(
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.Assign)
        and isinstance(line.value, ast.Call)
        and getattr(line.value.func, "id", getattr(line.value.func, "attr", "")) == "Param"
        for target in line.targets
        if isinstance(target, ast.Name)
    )
