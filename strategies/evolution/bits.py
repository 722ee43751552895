"""From a genome to signals: the arithmetic of the language on whole columns, without frames.

Belongs here: what the rendered text of a genome would signal, bar for bar, computed from the panel's columns. Does not
belong here: the text itself (`strategies.evolution.rendering`); a test holds the two equal.

A test of both sides is one pass over a column: bit 1 where the long side's comparison holds, bit 2 where the short
side's does. NaN stands for null, and a comparison with it holds for neither.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from backtester import kernel
from backtester.bars import Bytes, Floats
from backtester.signals import Signals
from strategies.base import LEVELS
from strategies.evolution.genome import Genome, Test
from strategies.evolution.panel import LaneKey, LaneRows, Panel

_LONG: Final = np.uint8(1)
_SHORT: Final = np.uint8(2)
_SIDES: Final = {"both": np.uint8(3), "long": _LONG, "short": _SHORT}
_HOW: Final = {"level": 0, "crossed": 1, "fresh": 2}
_njit: Final[Any] = numba.njit


@dataclass(frozen=True, eq=False)
class Columns:
    """The panel's columns that a genome reads, whole; fetched once for all lanes."""

    by_name: dict[str, npt.NDArray[Any]]

    @classmethod
    def of(cls, panel: Panel, genome: Genome) -> "Columns":
        """Fetch what the genome reads."""
        return cls({name: panel.column(name) for name in genome.features})


def entry_bits(genome: Genome, columns: Columns, rows: slice) -> Bytes:
    """Return the kernel's signal bits of a genome over some rows of one lane, shape (n_rows,).

    Notes
    -----
    The first row is taken for the lane's first: nothing before it is read.
    """
    count = rows.stop - rows.start
    sides = np.full(count, _SIDES[genome.direction])
    for test in genome.tests:
        _apply(test, columns.by_name[test.feature][rows], sides)
    bits = np.zeros(count, dtype=np.uint8)
    lead = columns.by_name[genome.lead.feature][rows]
    centre = genome.lead.word.centre or 0.0
    _compiled().finish(sides, lead, centre, genome.lead.side, genome.leave == "centre", _SIDES[genome.direction], bits)
    return bits


def lane_signals(genome: Genome, columns: Columns, lane: LaneRows) -> Signals:
    """Return the signals of a genome on one lane, as the panel's `Signals.from_frame` would check and pass them."""
    bits = entry_bits(genome, columns, lane.rows)
    levels = _levels(genome, columns, lane.rows, bits)
    inside = {name: _in_window(column, lane) if len(column) > 1 else column for name, column in levels.items()}
    return Signals(_in_window(bits, lane), inside)


def signals_of(genome: Genome, panel: Panel, keys: list[LaneKey]) -> list[Signals]:
    """Return the signals of a genome on some lanes, in their order."""
    columns = Columns.of(panel, genome)
    return [lane_signals(genome, columns, panel.lanes[key]) for key in keys]


def _apply(test: Test, column: npt.NDArray[Any], sides: Bytes) -> None:
    """Clear the sides on which a test does not hold."""
    word, compiled = test.word, _compiled()
    if word.truth:
        sides[~column] = 0
    elif not word.signed:
        compiled.plain(column, test.level, test.side, sides)
    else:
        centre = word.centre or 0.0
        high, low = centre + test.level, centre - test.level
        compiled.signed(column, high, low, test.side, _HOW[test.how], test.bars, sides)


def _levels(genome: Genome, columns: Columns, rows: slice, bits: Bytes) -> dict[str, Floats]:
    """Return the numbers of the signal; entries where one of them is unknown or out of range are cleared."""
    found: dict[str, Floats] = {}
    for name in ("stop", "target", "trail"):
        factor = getattr(genome, name)
        if factor:
            found[name] = 0.01 * factor * columns.by_name["natr_14"][rows]
    if genome.risk:
        volatility = columns.by_name["realized_volatility_60"][rows]
        with np.errstate(divide="ignore"):
            share = np.where(volatility != 0.0, genome.risk / volatility, np.nan)
        found["size"] = np.where(share <= 1.0, share, np.where(np.isnan(share), np.nan, 1.0))
    for name, column in found.items():
        low, high = LEVELS[name]
        _compiled().need(column, low, high, bits)
    if genome.hold:
        found["time_stop"] = np.array([float(genome.hold)])
    return found


def _in_window(column: npt.NDArray[Any], lane: LaneRows) -> npt.NDArray[Any]:
    """Return the window's part of a column over sound rows, nothing on the others."""
    inside = column[lane.lead :]
    if lane.place is None:
        return inside
    whole = np.zeros(len(lane.bars), dtype=column.dtype)
    if column.dtype == np.float64:
        whole[:] = np.nan
    whole[lane.place] = inside
    return whole


def _signed(x, high, low, side, how, bars, sides):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    last_other_long = last_other_short = last_unknown = -1
    before_long, before_short, before_known = False, False, False
    for i in range(len(x)):
        value = x[i]
        above, below = value > high, value < low
        long, short = (above, below) if side > 0 else (below, above)
        kept_long, kept_short = long, short
        if how == 1:
            kept_long = long and before_known and not before_long
            kept_short = short and before_known and not before_short
        elif how == 2:  # noqa: PLR2004
            # `bars` values before this one, all known, none beyond the other side's level
            first = i - bars
            quiet = first >= 0 and last_unknown < first
            kept_long = long and quiet and last_other_long < first
            kept_short = short and quiet and last_other_short < first
            if short:
                last_other_long = i
            if long:
                last_other_short = i
        known = value == value  # noqa: PLR0124
        if not known:
            last_unknown = i
        before_long, before_short, before_known = long, short, known
        allowed = (1 if kept_long else 0) | (2 if kept_short else 0)
        sides[i] &= allowed


def _plain(x, level, side, sides):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    for i in range(len(x)):
        if not (x[i] > level if side > 0 else x[i] < level):
            sides[i] = 0


def _finish(sides, lead, centre, side, leave, allowed, bits):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    for i in range(len(sides)):
        found = sides[i]
        made = 0
        if found & 1:
            made |= kernel.LONG_ENTRY
        if found & 2:
            made |= kernel.SHORT_ENTRY
        if leave:
            value = lead[i]
            back_up, back_down = value > centre, value < centre
            if allowed & 1 and (back_down if side > 0 else back_up):
                made |= kernel.LONG_EXIT
            if allowed & 2 and (back_up if side > 0 else back_down):
                made |= kernel.SHORT_EXIT
        bits[i] = made


def _need(column, low, high, bits):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    entries = kernel.LONG_ENTRY | kernel.SHORT_ENTRY
    for i in range(len(column)):
        if not (low <= column[i] <= high):
            column[i] = np.nan
            bits[i] &= ~np.uint8(entries)


@dataclass(frozen=True)
class _Compiled:
    signed: Callable[..., None]
    plain: Callable[..., None]
    finish: Callable[..., None]
    need: Callable[..., None]


@cache
def _compiled() -> _Compiled:
    """Return the loops as machine code, compiled on first use and kept on disk where there is a place to keep it."""
    loops = (_signed, _plain, _finish, _need)
    try:
        made = [_njit(loop, nogil=True, cache=True) for loop in loops]
    except (RuntimeError, OSError):
        made = [_njit(loop, nogil=True) for loop in loops]
    return _Compiled(*made)
