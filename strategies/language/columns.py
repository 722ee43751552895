"""What the words of the language compute: from columns of one symbol to columns of one symbol.

Belongs here: every step of the language as arithmetic on arrays, and `Program`, which runs the steps of some values in
order. Does not belong here: the words themselves and their limits (`strategies.language.values`), frames
(`strategies.language.strategy`).

A number is a float64 array in which NaN stands for null; no infinity is ever passed on, so that nothing unknown looks
large. A truth value is two arrays, where it is known to hold and where it is known not to: null is neither, so it
never fires, and `~` of it does not either.

What a text can cost is counted before anything is computed: each step is done once, in time proportional to the number
of bars whatever its window, and at most `MAX_COLUMNS` results are held at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from features.array_types import BoolArray, FloatArray
from strategies.language.values import LanguageError, Value

ACROSS: Final = "across "
"""Beginning of the steps that compare symbols; `strategies.language.across` computes them."""
MAX_COLUMNS: Final = 100
"""Most results of steps that a program may have to hold at once."""


class Truth(NamedTuple):
    """A truth value per bar.

    Attributes
    ----------
    yes, no : ndarray of shape (n_bars,), bool
        Where it is known to hold, and where it is known not to; unknown where neither.
    """

    yes: BoolArray
    no: BoolArray


Column: TypeAlias = FloatArray | Truth


class Program:
    """The steps of some values in the order of their computation, each once.

    Parameters
    ----------
    values : sequence of Value
        What is wanted.

    Attributes
    ----------
    features : tuple of str
        What it reads, sorted.
    steps : tuple of (str, str or float or None, str, tuple of int)
        Of each step: what it does, what it is given, its kind, and the steps that it works on; equal steps are one.
    widest : int
        Most results held at once.

    Raises
    ------
    LanguageError
        If it would hold more than `MAX_COLUMNS` results at once.
    """

    def __init__(self, values: Sequence[Value]) -> None:
        steps: dict[tuple[str, str | float | None, str, tuple[int, ...]], int] = {}
        places: dict[int, int] = {}
        waiting = list(reversed(values))
        while waiting:
            value = waiting[-1]
            missing = [part for part in value.parts if id(part) not in places]
            if missing and id(value) not in places:
                waiting += reversed(missing)
                continue
            waiting.pop()
            parts = tuple(places[id(part)] for part in value.parts)
            places[id(value)] = steps.setdefault((value.step, value.given, value.kind, parts), len(steps))
        self.steps = tuple(steps)
        self.features = tuple(sorted(str(given) for step, given, _, _ in steps if step == "feature"))
        self._wanted = tuple(places[id(value)] for value in values)
        self._done = self._last_uses()
        self.widest = self._most_held()
        if self.widest > MAX_COLUMNS:
            msg = f"the expression holds more than {MAX_COLUMNS} results at once; make it simpler"
            raise LanguageError(msg)

    @property
    def crosses(self) -> bool:
        """Whether a step compares symbols with each other."""
        return any(step.startswith(ACROSS) for step, *_ in self.steps)

    def run(self, columns: Mapping[str, Column], bars: int) -> list[Column]:
        """Compute the values over the bars of one symbol.

        Parameters
        ----------
        columns : mapping of str to array of shape (bars,) or Truth
            Each of `features`; of a truth value an array of 0 and 1 will do. NaN means null, infinity too.
        bars : int
            How many there are.

        Returns
        -------
        list of array of shape (bars,) or Truth
            One for each value, finite or NaN. Not to be written to: it may be a column that was given.

        Notes
        -----
        No look-ahead: row t depends on rows up to t. A comparison with other symbols is null: there are none.
        """
        return self.run_together([columns], [bars], _alone)[0]

    def run_together(
        self,
        columns: Sequence[Mapping[str, Column]],
        bars: Sequence[int],
        compare: Callable[[str, Sequence[Column]], Sequence[Column]],
    ) -> list[list[Column]]:
        """Compute the values over the bars of several symbols, step by step, so that symbols can be compared.

        Parameters
        ----------
        columns, bars
            Of each symbol, as for `run`.
        compare : callable
            From a cross-sectional step and the column of each symbol to the result of each.

        Returns
        -------
        list of list of array of shape (bars,) or Truth
            For each symbol, as `run` gives them.
        """
        held: dict[int, list[Column]] = {}
        with np.errstate(all="ignore"):
            for place, (step, given, kind, parts) in enumerate(self.steps):
                if step == "feature":
                    held[place] = [_read(own[str(given)], kind) for own in columns]
                elif step == "constant":
                    held[place] = [np.broadcast_to(np.float64(given), (count,)) for count in bars]
                elif step.startswith(ACROSS):
                    held[place] = list(compare(step, held[parts[0]]))
                else:
                    more = () if given is None else (given,)
                    held[place] = [
                        STEPS[step](*(held[part][symbol] for part in parts), *more) for symbol in range(len(columns))
                    ]
                for part in self._done[place]:
                    del held[part]
        return [[held[place][symbol] for place in self._wanted] for symbol in range(len(columns))]

    def _last_uses(self) -> list[list[int]]:
        """Return, for each step, the steps whose results are not needed after it."""
        last = {place: place for place in range(len(self.steps))}
        last |= {part: place for place, step in enumerate(self.steps) for part in step[3]}
        done: list[list[int]] = [[] for _ in self.steps]
        for part in sorted(set(last) - set(self._wanted)):
            done[last[part]].append(part)
        return done

    def _most_held(self) -> int:
        held = most = 0
        for done in self._done:
            held += 1
            most = max(most, held)
            held -= len(done)
        return most


def column_of(series: pl.Series) -> Column:
    """Return a column of a frame as the language counts it: null where not finite."""
    if series.dtype == pl.Boolean:
        return Truth(series.fill_null(value=False).to_numpy(), (~series).fill_null(value=False).to_numpy())
    return series.cast(pl.Float64).to_numpy()


def _alone(step: str, columns: Sequence[Column]) -> list[Column]:  # noqa: ARG001  # no step compares one symbol alone
    (column,) = columns
    return [np.full(len(column.yes if isinstance(column, Truth) else column), np.nan)]


def _read(column: Column, kind: str) -> Column:
    if isinstance(column, Truth):
        return column
    return Truth(column == 1.0, column == 0.0) if kind == "boolean" else _known(column)


def _known(column: FloatArray) -> FloatArray:
    """Return numbers with NaN for infinity."""
    beyond = np.isinf(column)
    return np.where(beyond, np.nan, column) if beyond.any() else column


def _power(x: FloatArray, exponent: float) -> FloatArray:
    # NumPy takes anything to the power 0 for 1, NaN too
    return np.where(np.isnan(x), np.nan, 1.0) if exponent == 0.0 else _known(np.power(x, exponent))


def _equal(a: FloatArray, b: FloatArray) -> Truth:
    return Truth(a == b, (a < b) | (a > b))


def _inverted(a: Truth) -> Truth:
    return Truth(a.no, a.yes)


def _previous(x: Column, bars: float) -> Column:
    n = int(bars)
    if isinstance(x, Truth):
        return Truth(_shifted(x.yes, n, fill=False), _shifted(x.no, n, fill=False))
    return _shifted(x, n, fill=np.nan)


def _shifted(x: npt.NDArray[Any], n: int, *, fill: float) -> npt.NDArray[Any]:
    shifted = np.full(len(x), fill, dtype=x.dtype)
    shifted[n:] = x[:-n]
    return shifted


def _where(truth: Truth, then: FloatArray, otherwise: FloatArray) -> FloatArray:
    return np.where(truth.yes, then, np.where(truth.no, otherwise, np.nan))


def _count(truth: Truth, bars: float) -> FloatArray:
    """Return on how many of the last bars it held; NaN where it is unknown on one of them."""
    n = int(bars)
    counts = [np.concatenate([[0], np.cumsum(part)]) for part in (truth.yes, truth.yes | truth.no)]
    counted = np.full(len(truth.yes), np.nan)
    if len(counted) >= n:
        held, known_bars = (total[n:] - total[:-n] for total in counts)
        counted[n - 1 :] = np.where(known_bars == n, held, np.nan)
    return counted


def _highest(x: FloatArray, bars: float) -> FloatArray:
    return _over_windows(x, int(bars), np.maximum)


def _lowest(x: FloatArray, bars: float) -> FloatArray:
    return _over_windows(x, int(bars), np.minimum)


def _over_windows(x: FloatArray, n: int, operation: np.ufunc) -> FloatArray:
    """Combine the last n values: each window is the end of one block of n bars and the beginning of the next.

    Source: van Herk (1992), Gil and Werman (1993). Nothing is ever taken out of a window, so what is not in it cannot
    touch its result.
    """
    blocks = _blocks(x, n)
    running = operation.accumulate(blocks, axis=1)
    ends = operation.accumulate(blocks[:-1, ::-1], axis=1)[:, ::-1]
    operation(running[1:, :-1], ends[:, 1:], out=running[1:, :-1])
    running[0, :-1] = np.nan
    return running.reshape(-1)[: len(x)]


def _sums(x: FloatArray, n: int, *, squared: bool = False) -> tuple[FloatArray, FloatArray]:
    """Return the sums of the last n values less a value of the same window, and that value; or of the squares.

    The value is that at the beginning of a block of n bars, which each window holds one of: where all are equal, the
    sums are exactly 0, and a small spread on a large price keeps its digits.
    """
    blocks = _blocks(x, n)
    centre = blocks[:, :1]
    inside, before = blocks - centre, blocks[:-1] - centre[1:]
    if squared:
        inside, before = inside * inside, before * before
    sums = np.cumsum(inside, axis=1)
    sums[1:, :-1] += np.cumsum(before[:, ::-1], axis=1)[:, ::-1][:, 1:]
    sums[0, :-1] = np.nan
    return sums, centre


def _blocks(x: FloatArray, n: int) -> FloatArray:
    """Return values in rows of n, the last filled up with NaN."""
    count = max(1, -(-len(x) // n))
    if len(x) == count * n:
        return x.reshape(count, n)
    padded = np.full(count * n, np.nan)
    padded[: len(x)] = x
    return padded.reshape(count, n)


def _mean(x: FloatArray, bars: float) -> FloatArray:
    n = int(bars)
    sums, centre = _sums(x, n)
    return _known((centre + sums / n).reshape(-1)[: len(x)])


def _stdev(x: FloatArray, bars: float) -> FloatArray:
    n = int(bars)
    sums, _ = _sums(x, n)
    squares, _ = _sums(x, n, squared=True)
    variance = (squares - sums * sums / n) / (n - 1)
    return _known(np.sqrt(np.maximum(variance, 0.0)).reshape(-1)[: len(x)])


STEPS: Final[dict[str, Callable[..., Column]]] = {
    "+": lambda a, b: _known(a + b),
    "-": lambda a, b: _known(a - b),
    "*": lambda a, b: _known(a * b),
    "/": lambda a, b: _known(a / b),
    "**": _power,
    "negative": np.negative,
    "abs": np.abs,
    "<": lambda a, b: Truth(a < b, a >= b),
    "<=": lambda a, b: Truth(a <= b, a > b),
    ">": lambda a, b: Truth(a > b, a <= b),
    ">=": lambda a, b: Truth(a >= b, a < b),
    "==": _equal,
    "!=": lambda a, b: _inverted(_equal(a, b)),
    "&": lambda a, b: Truth(a.yes & b.yes, a.no | b.no),
    "|": lambda a, b: Truth(a.yes | b.yes, a.no & b.no),
    "~": _inverted,
    "previous": _previous,
    "highest": _highest,
    "lowest": _lowest,
    "mean": _mean,
    "stdev": _stdev,
    "count": _count,
    "where": _where,
}
"""What each step makes of the columns of its parts and of the number that it is given."""
