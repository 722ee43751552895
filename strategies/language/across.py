"""The words that compare a symbol with the other members of its universe: `across.rank(f.momentum_24)`.

Belongs here: the cross-sectional words, and what they compute over dense arrays. Does not belong here: words over the
bars of one symbol (`strategies.language.values`), which symbols are members (whoever evaluates a book).

Each is over the members of the universe at that bar whose value is known then, and null where those are fewer than
five. It is null for a symbol that is no member. Values are those of bars closed by then, so nothing looks ahead.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from backtester.simulation.book_kernel import FEWEST
from features.array_types import BoolArray, FloatArray, IntArray
from strategies.language.columns import Column, Truth
from strategies.language.values import Operand, Value, number


class Across:
    """The cross-sectional words, behind the name `across`."""

    @staticmethod
    def rank(x: Value) -> Value:
        """Return the rank among the universe's members, 0 for the lowest, 1 for the highest; ties share their mean."""
        return Value("across rank", "number", number(x, "across.rank"))

    @staticmethod
    def demean(x: Value) -> Value:
        """Return x less the mean of the universe's members."""
        return Value("across demean", "number", number(x, "across.demean"))

    @staticmethod
    def zscore(x: Value) -> Value:
        """Return how many standard deviations of the universe's members x lies above their mean."""
        return Value("across zscore", "number", number(x, "across.zscore"))

    @staticmethod
    def share_above(x: Value, level: Operand) -> Value:
        """Return the share of the universe's members whose x is above `level`, from 0 to 1."""
        return Value("across share", "number", number(x, "across.share_above") > level)


across: Final = Across()
ACROSS: Final = {name: getattr(across, name) for name in ("rank", "demean", "zscore", "share_above")}
"""Every cross-sectional word, by name: what untrusted text may call behind `across`."""


class CrossSection:
    """Evaluates cross-sectional steps over the columns of several symbols.

    Parameters
    ----------
    rows : sequence of ndarray of shape (n_own_bars,), int64
        For each symbol, the place in time of each of its bars.
    member : ndarray of shape (n_times, n_symbols), bool
        Who is a member at each time.
    """

    def __init__(self, rows: Sequence[IntArray], member: BoolArray) -> None:
        self._rows = rows
        self._member = member

    def __call__(self, step: str, columns: Sequence[Column]) -> list[Column]:
        """Return what a step makes of one column of each symbol."""
        dense = np.full(self._member.shape, np.nan)
        for place, (rows, column) in enumerate(zip(self._rows, columns, strict=True)):
            dense[rows, place] = _numbers(column)
        result = cross_section(step, dense, self._member)
        return [result[rows, place] for place, rows in enumerate(self._rows)]


class FlatCrossSection:
    """Evaluates cross-sectional steps over one column that holds all symbols of each time side by side.

    Parameters
    ----------
    member : ndarray of shape (n_times, n_symbols), bool
        Who is a member at each time.
    """

    def __init__(self, member: BoolArray) -> None:
        self._member = member

    def __call__(self, step: str, columns: Sequence[Column]) -> list[Column]:
        """Return what a step makes of the one column."""
        (column,) = columns
        dense = _numbers(column).reshape(self._member.shape)
        return [cross_section(step, dense, self._member).reshape(-1)]


def cross_section(step: str, values: FloatArray, member: BoolArray) -> FloatArray:
    """Return a cross-sectional step over dense values.

    Parameters
    ----------
    step : str
        `across rank`, `across demean`, `across zscore` or `across share`.
    values : ndarray of shape (n_times, n_symbols)
        NaN where unknown.
    member : ndarray of shape (n_times, n_symbols), bool
        Who is a member.

    Returns
    -------
    ndarray of shape (n_times, n_symbols)
        NaN where it is unknown, the symbol is no member, or fewer than five are known.
    """
    known = member & ~np.isnan(values)
    count = known.sum(axis=1, keepdims=True)
    enough = count >= FEWEST
    with np.errstate(all="ignore"):
        if step == "across rank":
            result = _ranks(values, known) / (count - 1)
        else:
            # less the lowest, so that equal values have no spread, whatever their size
            lowest = np.where(known, values, np.inf).min(axis=1, keepdims=True)
            above = np.where(known, values - lowest, 0.0)
            mean = _sum(above) / count
            if step == "across share":
                result = np.where(member, lowest + mean, np.nan)
                known = member
            else:
                result = above - mean
                if step == "across zscore":
                    squares = _sum(np.where(known, result * result, 0.0))
                    result = result / np.sqrt(squares / (count - 1))
    return np.where(known & enough & np.isfinite(result), result, np.nan)


def _sum(values: FloatArray) -> FloatArray:
    """Return the sum of each row, added one by one: a column of zeros, as of a symbol listed later, changes no bit."""
    return np.cumsum(values, axis=1)[:, -1:]


def _ranks(values: FloatArray, known: BoolArray) -> FloatArray:
    """Return ranks from 0 among the known of each row; ties share their mean."""
    filled = np.where(known, values, np.inf)
    order = np.argsort(filled, axis=1, kind="stable")
    ordered = np.take_along_axis(filled, order, axis=1)
    places = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    differs = ordered[:, 1:] != ordered[:, :-1]
    edge = np.ones((len(values), 1), dtype=np.bool_)
    first = np.maximum.accumulate(np.where(np.hstack([edge, differs]), places, 0), axis=1)
    last_edges = np.where(np.hstack([differs, edge]), places, values.shape[1])
    last = np.minimum.accumulate(last_edges[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty_like(filled)
    np.put_along_axis(ranks, order, (first + last) / 2.0, axis=1)
    return ranks


def _numbers(column: Column) -> Any:
    """Return a column as numbers: 1 and 0 for a truth value, NaN for null."""
    if isinstance(column, Truth):
        return np.where(column.yes, 1.0, np.where(column.no, 0.0, np.nan))
    return column
