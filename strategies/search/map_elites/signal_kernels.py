"""From a genome to signals: the arithmetic of the language on whole columns, without frames.

Belongs here: what the rendered text of a genome would signal, bar for bar, computed from the panel's columns. Does not
belong here: the text itself (`strategies.search.map_elites.code_generation`); a test holds the two equal.

A test of both sides is one pass over a column: bit 1 where the long side's comparison holds, bit 2 where the short
side's does. NaN stands for null, and a comparison with it holds for neither.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from backtester.simulation import kernel
from backtester.simulation.signals import Signals
from features.array_types import ByteArray, FloatArray
from features.jit import kept
from strategies.language.strategy import LEVELS
from strategies.search.map_elites.genome import Genome, Test
from strategies.search.panel import LaneKey, LaneRows, Panel

_LONG: Final = np.uint8(1)
_SHORT: Final = np.uint8(2)
_SIDES: Final = {"both": np.uint8(3), "long": _LONG, "short": _SHORT}
_TRIGGER_CODES: Final = {"level": 0, "crossed": 1, "fresh": 2}


@dataclass(frozen=True, eq=False)
class Columns:
    """What a genome reads on one lane, over its sound bars."""

    by_name: Mapping[str, npt.NDArray[Any]]
    rows: int

    @classmethod
    def of(cls, panel: Panel, genome: Genome, keys: Iterable[LaneKey]) -> "dict[LaneKey, Columns]":
        """Fetch what a genome reads on some lanes, all at once.

        Parameters
        ----------
        panel : Panel
            Of the search window.
        genome : Genome
            The strategy.
        keys : iterable of (str, Timeframe)
            The lanes.

        Returns
        -------
        dict of (str, Timeframe) to Columns
            By lane.
        """
        columns = panel.columns(genome.features, keys)
        return {key: cls(own, len(next(iter(own.values())))) for key, own in columns.items()}


def entry_bits(genome: Genome, columns: Columns) -> ByteArray:
    """Return the kernel's signal bits of a genome on one lane.

    Parameters
    ----------
    genome : Genome
        The strategy.
    columns : Columns
        Features that it reads.

    Returns
    -------
    ndarray of shape (n_rows,), uint8
        The four Boolean columns as bits.
    """
    sides = np.full(columns.rows, _SIDES[genome.direction])
    for test in genome.tests:
        _apply(test, columns.by_name[test.feature], sides)
    bits = np.zeros(columns.rows, dtype=np.uint8)
    lead = columns.by_name[genome.lead.feature]
    centre = genome.lead.term.centre or 0.0
    _compiled().finish(
        sides, lead, centre, genome.lead.side, genome.exit_rule == "centre", _SIDES[genome.direction], bits
    )
    return bits


def lane_signals(genome: Genome, columns: Columns, lane: LaneRows) -> Signals:
    """Return the signals of a genome on one lane.

    Parameters
    ----------
    genome : Genome
        The strategy.
    columns : Columns
        Features that it reads.
    lane : LaneRows
        Which of the rows lie in the window.

    Returns
    -------
    Signals
        As `Signals.from_frame` gives for the compiled text of the genome.
    """
    bits = entry_bits(genome, columns)
    levels = _levels(genome, columns, bits)
    inside = {name: lane.inside(column) if len(column) > 1 else column for name, column in levels.items()}
    return Signals(lane.inside(bits), inside)


def signals_of(genome: Genome, panel: Panel, keys: list[LaneKey]) -> list[Signals]:
    """Return the signals of a genome on some lanes.

    Parameters
    ----------
    genome : Genome
        The strategy.
    panel : Panel
        Of the search window.
    keys : list of (str, Timeframe)
        The lanes.

    Returns
    -------
    list of Signals
        In the order of `keys`.
    """
    columns = Columns.of(panel, genome, keys)
    return [lane_signals(genome, columns[key], panel.lanes[key]) for key in keys]


def _apply(test: Test, column: npt.NDArray[Any], sides: ByteArray) -> None:
    """Clear the sides on which a test does not hold."""
    term, compiled = test.term, _compiled()
    if term.truth:
        sides[~column] = 0
    elif not term.signed:
        compiled.plain(column, test.level, test.side, sides)
    else:
        centre = term.centre or 0.0
        high, low = centre + test.level, centre - test.level
        compiled.signed(column, high, low, test.side, _TRIGGER_CODES[test.trigger], test.bars, sides)


def _levels(genome: Genome, columns: Columns, bits: ByteArray) -> dict[str, FloatArray]:
    """Return the numbers of the signal; entries where one of them is unknown or out of range are cleared."""
    levels: dict[str, FloatArray] = {}
    for name in ("stop", "target", "trail"):
        factor = getattr(genome, name)
        if factor:
            levels[name] = 0.01 * factor * columns.by_name["natr_14"]
    if genome.risk:
        volatility = columns.by_name["realized_volatility_60"]
        with np.errstate(divide="ignore", over="ignore"):
            share = genome.risk / volatility
        # what is not finite is unknown, as in the language: there is no entry
        levels["size"] = np.where(np.isfinite(share), np.minimum(share, 1.0), np.nan)
    for name, column in levels.items():
        low, high = LEVELS[name]
        _compiled().need(column, low, high, bits)
    if genome.hold:
        levels["time_stop"] = np.array([float(genome.hold)])
    return levels


def _signed(x, high, low, side, trigger, bars, sides):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    last_other_long = last_other_short = last_unknown = -1
    before_long, before_short, before_known = False, False, False
    for i in range(len(x)):
        value = x[i]
        above, below = value > high, value < low
        long, short = (above, below) if side > 0 else (below, above)
        kept_long, kept_short = long, short
        if trigger == 1:
            kept_long = long and before_known and not before_long
            kept_short = short and before_known and not before_short
        elif trigger == 2:  # noqa: PLR2004
            # `bars` values before this one, all known, none beyond the other side's level
            first = i - bars
            quiet = first >= 0 and last_unknown < first
            kept_long = long and quiet and last_other_long < first
            kept_short = short and quiet and last_other_short < first
            if short:
                last_other_long = i
            if long:
                last_other_short = i
        is_known = value == value  # noqa: PLR0124
        if not is_known:
            last_unknown = i
        before_long, before_short, before_known = long, short, is_known
        allowed = (1 if kept_long else 0) | (2 if kept_short else 0)
        sides[i] &= allowed


def _plain(x, level, side, sides):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    for i in range(len(x)):
        if not (x[i] > level if side > 0 else x[i] < level):
            sides[i] = 0


def _finish(sides, lead, centre, side, leaves, allowed, bits):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    for i in range(len(sides)):
        held = sides[i]
        signal = 0
        if held & 1:
            signal |= kernel.LONG_ENTRY
        if held & 2:
            signal |= kernel.SHORT_ENTRY
        if leaves:
            value = lead[i]
            back_up, back_down = value > centre, value < centre
            if allowed & 1 and (back_down if side > 0 else back_up):
                signal |= kernel.LONG_EXIT
            if allowed & 2 and (back_up if side > 0 else back_down):
                signal |= kernel.SHORT_EXIT
        bits[i] = signal


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
    keep = kept(nogil=True)
    return _Compiled(keep(_signed), keep(_plain), keep(_finish), keep(_need))
