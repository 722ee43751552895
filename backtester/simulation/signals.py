"""Signals of a strategy or a model at each close, checked against the bars of their lane.

Belongs here: the columns of a signal frame, their meaning and their checks. Does not belong here: how a signal is
made (`strategies`, `model_zoo`), what it does to a position (`backtester.simulation.kernel`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from backtester.simulation import kernel
from backtester.simulation.bar_arrays import Bars, address, from_micros, micros_of
from backtester.simulation.costs import MarginRules
from backtester.simulation.kernel import LONG_ENTRY, LONG_EXIT, SHORT_ENTRY, SHORT_EXIT
from features.array_types import ByteArray, FloatArray, IntArray

SIGNAL_COLUMNS: Final[dict[str, int]] = {
    "long_entry": LONG_ENTRY,
    "short_entry": SHORT_ENTRY,
    "long_exit": LONG_EXIT,
    "short_exit": SHORT_EXIT,
}
"""Boolean columns of a signal frame and their bits; null is false, an absent column is all false."""

PARAMETER_COLUMNS: Final[tuple[str, ...]] = (
    "stop", "target", "trail", "time_stop", "size", "leverage", "entry_limit",
)  # fmt: skip
"""Numeric columns of a signal frame, each optional, in the order of the kernel's lane table.

`stop`, `target`, `trail` distances as fractions of the entry fill, null none; `time_stop` in bars, null none; `size`
the fraction of equity at stake, in (0, 1], null 1; `leverage` 1 or more, null 1, reduced to the instrument's maximum;
`entry_limit` the distance of a limit order from the close, as a fraction of it below 1, null a market order.
They are read at the bar of the entry signal and frozen; on other bars they may hold anything.
"""

MOST_BARS: Final = 2.0**31
_ONE: Final = np.ones(1)
_DEFAULTS: Final = {"size": 1.0, "leverage": 1.0}
_LEAST_SHARE: Final = 1e-30
"""Relative size below which float32 has no full precision; no position is smaller."""


class SignalError(ValueError):
    """A signal frame that does not fit its bars; the message names the row and the value."""


@dataclass(frozen=True, eq=False)
class Signals:
    """Checked signals of one lane.

    Parameters
    ----------
    bits : ndarray of shape (n_bars,), uint8
        The four Boolean columns as bits.
    parameters : dict of str to ndarray, float64
        For each of `PARAMETER_COLUMNS` that is in use, shape (n_bars,), or (1,) where one value holds for all bars;
        NaN is none.
    """

    bits: ByteArray
    parameters: dict[str, FloatArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def entries(self) -> int:
        """Number of bars with an entry signal: no lane can have more trades."""
        return int(np.count_nonzero(self.bits & (LONG_ENTRY | SHORT_ENTRY)))

    @cached_property
    def liquidatable(self) -> bool:
        """Whether a position may be liquidated: any entry is short or has leverage above 1."""
        if (self.bits & SHORT_ENTRY).any():
            return True
        column = self.parameters.get("leverage")
        if column is None:
            return False
        return bool(((column > 1.0) & ((self.bits & LONG_ENTRY) != 0)).any())

    def largest(self, bars: Bars) -> float:
        """Return the largest size * leverage of an entry on a sound bar; 0 without entries."""
        entering = (self.bits & (LONG_ENTRY | SHORT_ENTRY)) != 0
        if not entering.any():
            return 0.0
        notional = self._notional()
        if notional is _ONE:
            return 1.0
        entering &= (bars.state & kernel.FILLABLE) != 0
        return float(np.broadcast_to(notional, len(entering))[entering].max(initial=0.0))

    def relative(self, largest: float) -> Self:
        """Return the same signals without leverage, sized by size * leverage over `largest`.

        The ratio is rounded to the precision of float32, so that it is the same number, bit for bit, where all sizes
        or the leverage are multiplied by a constant.
        """
        others = {name: column for name, column in self.parameters.items() if name not in _DEFAULTS}
        notional = self._notional()
        if notional is _ONE and largest == 1.0:
            return self
        share = np.maximum((notional / largest).astype(np.float32).astype(np.float64), _LEAST_SHARE)
        if len(share) > 1:  # elsewhere a parameter may hold anything
            share = np.where((self.bits & (LONG_ENTRY | SHORT_ENTRY)) != 0, share, 1.0)
        return type(self)(self.bits, others if (share == 1.0).all() else {**others, "size": share})

    def _notional(self) -> FloatArray:
        """Return size * leverage, of shape (n_bars,), or (1,) where one value holds for all bars."""
        if not _DEFAULTS.keys() & self.parameters.keys():
            return _ONE
        notional: FloatArray = self.parameters.get("size", _ONE) * self.parameters.get("leverage", _ONE)
        return notional

    @cached_property
    def packed(self) -> IntArray:
        """Its part of a row of the kernel's lane table; the rest is 0. Valid as long as these signals exist.

        The result has shape (`kernel.LANE_COLUMNS`,).
        """
        row = np.zeros(kernel.LANE_COLUMNS, dtype=np.int64)
        row[kernel.BITS] = address(self.bits)
        row[kernel.SIZE] = row[kernel.LEVERAGE] = address(_ONE)
        for offset, name in enumerate(PARAMETER_COLUMNS):
            column = self.parameters.get(name)
            if column is not None:
                row[kernel.STOP + offset] = address(column)
                row[kernel.STOP + offset + kernel.STRIDE_OF] = 1 if len(column) > 1 else 0
        return row

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, bars: Bars, rules: MarginRules | None = None) -> Self:
        """Check a signal frame of one symbol against its bars.

        Parameters
        ----------
        frame : DataFrame
            Columns `ts` (and `symbol`), any of `SIGNAL_COLUMNS` and `PARAMETER_COLUMNS`; one row for each bar, in the
            same order.
        bars : Bars
            The bars that the signals were read from.
        rules : MarginRules, optional
            The instrument's leverage limits; leverage above its maximum is reduced to it.

        Returns
        -------
        Signals
            Bits of shape (n_bars,) and the parameters in use.

        Raises
        ------
        SignalError
            If the frame has another length or other times than the bars, an unknown column, no entry column, or at
            an entry a parameter out of range. The message names the row and the value.
        """
        where = f"signals of {bars.symbol} {bars.timeframe}"
        _same_rows(frame, bars, where)
        unknown = [c for c in frame.columns if c not in ("symbol", "ts", *SIGNAL_COLUMNS, *PARAMETER_COLUMNS)]
        if unknown:
            columns = ", ".join([*SIGNAL_COLUMNS, *PARAMETER_COLUMNS])
            msg = f"{where}: unknown column {', '.join(unknown)}; known: {columns}"
            raise SignalError(msg)
        if not {"long_entry", "short_entry"} & set(frame.columns):
            msg = f"{where}: neither long_entry nor short_entry; return at least one of them"
            raise SignalError(msg)
        used = [name for name in PARAMETER_COLUMNS if name in frame.columns and frame[name].null_count() < len(frame)]
        _refuse_types(frame, used, where)
        # one query for all columns: each costs more to begin than some thousands of rows cost to read
        conditions = tuple(name for name in SIGNAL_COLUMNS if name in frame.columns)
        read = frame.select_seq(_bits(conditions), *(_number(name) for name in used))
        return cls.from_arrays(read["bits"].to_numpy(), bars, rules, **{name: read[name].to_numpy() for name in used})

    @classmethod
    def from_arrays(
        cls, bits: ByteArray, bars: Bars, rules: MarginRules | None = None, **parameters: float | FloatArray | None
    ) -> Self:
        """Check signals given as bits and parameters.

        Parameters
        ----------
        bits : ndarray of shape (n_bars,), uint8
            The four Boolean columns as bits.
        bars : Bars
            The bars that the signals were read from.
        rules : MarginRules, optional
            The instrument's leverage limits; leverage above its maximum is reduced to it.
        **parameters : float or ndarray of shape (n_bars,), optional
            Any of `PARAMETER_COLUMNS`, one number for all bars or one for each; NaN is none.

        Returns
        -------
        Signals
            Bits of shape (n_bars,) and the parameters in use.

        Raises
        ------
        SignalError
            As `from_frame`.
        """
        where = f"signals of {bars.symbol} {bars.timeframe}"
        if len(bits) != len(bars):
            msg = f"{where}: {len(bits)} rows for {len(bars)} bars"
            raise SignalError(msg)
        checked: dict[str, FloatArray] = {}
        allowed = rules or MarginRules()
        entering = (bits & (LONG_ENTRY | SHORT_ENTRY)) != 0
        for name, value in parameters.items():
            if name not in PARAMETER_COLUMNS:
                msg = f"{where}: unknown parameter {name}; known: {', '.join(PARAMETER_COLUMNS)}"
                raise SignalError(msg)
            if value is None:
                continue
            column = np.ascontiguousarray(np.atleast_1d(value), dtype=np.float64)
            if len(column) not in (1, len(bars)):
                msg = f"{where}: {name} has {len(column)} rows for {len(bars)} bars"
                raise SignalError(msg)
            if name in _DEFAULTS:
                column = np.where(np.isnan(column), _DEFAULTS[name], column)
            if name == "leverage":  # an expression may pass the maximum on one calm bar; infinity is refused below
                column = np.where(np.isfinite(column), np.minimum(column, allowed.max_leverage), column)
            _in_range(name, column, entering if len(column) == len(bars) else None, bars, allowed)
            checked[name] = column
        return cls(np.ascontiguousarray(bits, dtype=np.uint8), checked)

    def rolled(self, shifts: Sequence[int]) -> list[Self]:
        """Return the signals circularly shifted to later bars, once for each shift (in bars).

        All are views of one copy that holds the signals twice.
        """
        bits = np.tile(self.bits, 2)
        twice = {name: np.tile(column, 2) for name, column in self.parameters.items() if len(column) > 1}
        rolled = []
        for shift in shifts:
            first = -shift % len(self.bits)
            moved = {name: column[first : first + len(self.bits)] for name, column in twice.items()}
            rolled.append(type(self)(bits[first : first + len(self.bits)], {**self.parameters, **moved}))
        return rolled


def _same_rows(frame: pl.DataFrame, bars: Bars, where: str) -> None:
    if "ts" not in frame.columns:
        msg = f"{where}: no column ts; return one row for each bar, with its opening time in ts"
        raise SignalError(msg)
    if len(frame) != len(bars):
        msg = f"{where}: {len(frame)} rows for {len(bars)} bars; return one row for each bar"
        raise SignalError(msg)
    times = micros_of(frame["ts"])
    other = times != bars.ts
    if other.any():
        row = int(np.argmax(other))
        msg = f"{where}: row {row} has ts {frame['ts'][row]}, its bar {from_micros(int(bars.ts[row]))}"
        raise SignalError(msg)


def _refuse_types(frame: pl.DataFrame, numbers: list[str], where: str) -> None:
    for name, kind in frame.schema.items():
        if name in SIGNAL_COLUMNS and kind not in (pl.Boolean, pl.Null):
            msg = f"{where}: {name} is {kind}, not Boolean"
            raise SignalError(msg)
        if name in numbers and not kind.is_numeric():
            msg = f"{where}: {name} is {kind}, not a number"
            raise SignalError(msg)


@cache
def _bits(names: tuple[str, ...]) -> pl.Expr:
    """Return the expression of some conditions as bits."""
    terms = (
        pl.col(name).cast(pl.Boolean).fill_null(value=False).cast(pl.UInt8) * pl.lit(SIGNAL_COLUMNS[name], pl.UInt8)
        for name in names
    )
    return pl.sum_horizontal(terms).cast(pl.UInt8).alias("bits")


@cache
def _number(name: str) -> pl.Expr:
    """Return a numeric column with NaN for null; a NaN that was there before is made infinite, to be refused."""
    return pl.col(name).cast(pl.Float64).fill_nan(float("inf")).fill_null(float("nan"))


def _in_range(
    name: str,
    column: FloatArray,
    entering: npt.NDArray[np.bool_] | None,
    bars: Bars,
    allowed: MarginRules,
) -> None:
    """Refuse a parameter out of range where an entry would read it (anywhere, if it is one value for all bars)."""
    none = np.isnan(column)
    if name == "size":
        good, limit = (column > 0.0) & (column <= 1.0), "a fraction of equity above 0, at most 1"
    elif name == "leverage":
        good, limit = (column >= 1.0) & (column < np.inf), "1 or more"
        too_thin = (column > 1.0) & (column * allowed.highest_rate() >= 1.0)
        if (good & too_thin).any():
            good, limit = good & ~too_thin, f"below 1 / maintenance rate, {1.0 / allowed.highest_rate():g}"
    elif name == "time_stop":
        good = none | ((column >= 1.0) & (column == np.floor(column)) & (column < MOST_BARS))
        limit = "whole bars, 1 or more"
    elif name == "entry_limit":
        good, limit = none | ((column > 0.0) & (column < 1.0)), "a fraction of the close between 0 and 1"
    else:
        good, limit = none | ((column > 0.0) & (column < np.inf)), "a fraction of the entry price above 0"
    bad = ~good if entering is None else ~good & entering
    if bad.any():
        row = int(np.argmax(bad))
        value = "NaN" if column[row] == np.inf and name != "leverage" else f"{column[row]:g}"
        at = f"row {row} ({from_micros(int(bars.ts[row]))})" if entering is not None else "every row"
        msg = f"signals of {bars.symbol} {bars.timeframe}: {at} has {name} {value}; give {limit}"
        raise SignalError(msg)
