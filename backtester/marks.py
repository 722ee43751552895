"""Mark prices on the bars of a lane: read only where leverage makes them matter, used as far as they are there.

Belongs here: minutes of the mark price on the rows of longer bars, and reading a window's once for all its lanes. Does
not belong here: what a liquidation is (`backtester.kernel`), where mark prices come from (`features.bars`).

A bar counts as marked where every minute of it has a mark price; the others go by last prices, each for itself. A lane
is not judged as a whole, since a minute that goes missing tomorrow must not change how one of today was decided.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock

import numpy as np
import polars as pl

from backtester.bars import MARKS, BarError, Bars, Floats, from_micros, micros_of
from backtester.kernel import FILLABLE
from features.bars import MINUTES, CandleSource, Timeframe


@dataclass(frozen=True, eq=False)
class Marks:
    """The mark prices of a window, read when the first leveraged lane asks for them. May be shared by threads.

    Parameters
    ----------
    source : CandleSource, optional
        Where they come from; without one there are none.
    symbols : sequence of str
        Read together.
    start, end : datetime
        The window; nothing that closed after `end` is read.
    """

    source: CandleSource | None
    symbols: Sequence[str]
    start: datetime
    end: datetime
    _lock: Lock = field(default_factory=Lock, repr=False)
    _read: dict[str, pl.DataFrame] = field(default_factory=dict, repr=False)
    _made: dict[tuple[str, Timeframe], Bars] = field(default_factory=dict, repr=False)

    def on(self, bars: Bars) -> Bars:
        """Return the bars of one of the window's lanes with their mark prices, or as they are where there are none."""
        if self.source is None or bars.mark is not None:
            return bars
        key = bars.symbol, bars.timeframe
        with self._lock:
            if key not in self._made:
                if not self._read:
                    found = self.source.mark_candles(list(self.symbols), self.start, self.end)
                    parts = found.partition_by("symbol", as_dict=True, maintain_order=True)
                    self._read.update({symbol: parts.get((symbol,), found.clear()) for symbol in self.symbols})
                self._made[key] = with_marks(bars, self._read[bars.symbol])
            return self._made[key]


def with_marks(bars: Bars, minutes: pl.DataFrame) -> Bars:
    """Return bars with the mark prices of their minutes.

    Parameters
    ----------
    bars : Bars
        Of any timeframe.
    minutes : DataFrame
        `features.bars.MARK_SCHEMA` of the same symbol, sorted by `ts`; minutes may be missing.

    Returns
    -------
    Bars
        Open of the first minute, highest high and lowest low of each bar that has all its minutes; the bar's own
        prices on the others, of which `mark_gaps` counts those that can be traded on. As given where no bar has all.

    Raises
    ------
    BarError
        If a price is null, not finite or not positive, or times do not ascend; the message names the row and the value.
    """
    ts = micros_of(minutes["ts"])
    if (np.diff(ts) <= 0).any():
        row = int(np.argmax(np.diff(ts) <= 0)) + 1
        msg = f"{bars.symbol} mark prices: row {row} has a time at or before the row above it: {minutes['ts'][row]}"
        raise BarError(msg)
    opens, highs, lows = (_prices(minutes, name, bars.symbol) for name in MARKS)
    count = MINUTES[bars.timeframe]
    first = np.searchsorted(ts, bars.ts)
    complete = np.searchsorted(ts, bars.ts + bars.step) - first == count
    if not complete.any():
        return bars
    rows = first[complete]
    mark = bars.open.copy(), bars.high.copy(), bars.low.copy()
    mark[0][complete] = opens[rows]
    mark[1][complete] = np.lib.stride_tricks.sliding_window_view(highs, count)[rows].max(axis=1)
    mark[2][complete] = np.lib.stride_tricks.sliding_window_view(lows, count)[rows].min(axis=1)
    gaps = np.count_nonzero(~complete & ((bars.state & FILLABLE) != 0))
    return replace(bars, mark=mark, mark_gaps=int(gaps))


def _prices(minutes: pl.DataFrame, name: str, symbol: str) -> Floats:
    column = np.ascontiguousarray(minutes[name].cast(pl.Float64).to_numpy(), dtype=np.float64)
    bad = ~((column > 0.0) & (column < np.inf))
    if bad.any():
        row = int(np.argmax(bad))
        at = from_micros(int(micros_of(minutes["ts"])[row]))
        msg = f"{symbol} mark prices: row {row} ({at}) has {name} {minutes[name][row]}"
        raise BarError(msg)
    return column
