"""Mark prices on the bars of a lane, read only if a position can be liquidated.

Belongs here: minutes of the mark price on the rows of longer bars, and reading a window's once for all its lanes. Does
not belong here: what a liquidation is (`backtester.simulation.kernel`), where mark prices come from (`features.bars`).

A bar uses mark prices if every minute of it has one, else last prices. This is decided bar by bar, since a minute that
goes missing later must not change how an earlier bar was liquidated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock

import numpy as np
import polars as pl

from backtester.simulation.bar_arrays import MARKS, BarError, Bars, from_micros, micros_of
from backtester.simulation.kernel import FILLABLE
from features.array_types import FloatArray
from features.bars import MINUTES, CandleSource, Timeframe


@dataclass(frozen=True, eq=False)
class MarkPrices:
    """The mark prices of a window, read for the first lane that can be liquidated; threads may share it.

    Parameters
    ----------
    source : CandleSource, optional
        Where they come from; without a source there are none.
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
        """Return the bars of one lane of the window with mark prices, or unchanged without any."""
        if self.source is None or bars.mark is not None:
            return bars
        key = bars.symbol, bars.timeframe
        with self._lock:
            if key not in self._made:
                if not self._read:
                    candles = self.source.mark_candles(list(self.symbols), self.start, self.end)
                    parts = candles.partition_by("symbol", as_dict=True, maintain_order=True)
                    self._read.update({symbol: parts.get((symbol,), candles.clear()) for symbol in self.symbols})
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
        Open of the first minute, highest high and lowest low of each bar that has all its minutes. Other bars have
        their own prices; `mark_gaps` counts those of them that can be traded on. Unchanged if no bar is complete.

    Raises
    ------
    BarError
        If a price is null, not finite or not positive, or times do not ascend; the message names the row and the value.
    """
    ts = micros_of(minutes["ts"])
    if (np.diff(ts) <= 0).any():
        row = int(np.argmax(np.diff(ts) <= 0)) + 1
        msg = f"{bars.symbol} mark prices: row {row} has a time not after the row above it: {minutes['ts'][row]}"
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


def _prices(minutes: pl.DataFrame, name: str, symbol: str) -> FloatArray:
    column = np.ascontiguousarray(minutes[name].cast(pl.Float64).to_numpy(), dtype=np.float64)
    bad = ~((column > 0.0) & (column < np.inf))
    if bad.any():
        row = int(np.argmax(bad))
        at = from_micros(int(micros_of(minutes["ts"])[row]))
        msg = f"{symbol} mark prices: row {row} ({at}) has {name} {minutes[name][row]}"
        raise BarError(msg)
    return column
