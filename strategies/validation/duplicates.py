"""Duplicates: strategies with the same positions, or books with the same weights, whatever their text.

Belongs here: positions over time from trades or from weights, their correlation, the search for a duplicate. Does not
belong here: rejecting or archiving it (the cycle does).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from backtester.simulation import book_kernel as kernel
from backtester.simulation.books import BookResult
from features.array_types import FloatArray
from features.bars import bar_length

SAME: Final = 0.99
"""Correlation of positions from which two strategies are duplicates, and of weights from which two books are."""
_UNIVERSE: Final = "universe"
"""Stands where a lane has its timeframe: books on different bars may hold the same weights."""
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, eq=False)
class Held:
    """What was held at each step of a window, as runs of equal size: a few for each trade, not one for each minute.

    Parameters
    ----------
    ends : ndarray of shape (n_runs,), int64
        Step after the last one of each run, rising; the last is the window's length.
    sizes : ndarray of shape (n_runs,)
        Above 0 long, below 0 short, 0 flat.
    """

    ends: npt.NDArray[np.int64]
    sizes: FloatArray

    def each_step(self) -> FloatArray:
        """Return the size at every step, shape (n_steps,)."""
        return np.repeat(self.sizes, np.diff(self.ends, prepend=0))


Positions = Mapping[tuple[str, str], Held]


def positions(trades: pl.DataFrame, start: datetime, end: datetime) -> Positions:
    """Return the position of every lane that traded, minute by minute.

    Parameters
    ----------
    trades : DataFrame
        `symbol, timeframe, side, entry_ts, exit_ts, quantity, entry_price, equity`, as the backtester returns them,
        after exits, stops, targets, sizes and leverage.
    start, end : datetime
        The window; one step for each minute in it.

    Returns
    -------
    dict of (symbol, timeframe) to Held
        Entry notional as a multiple of the equity at entry, above 0 long and below 0 short, 0 flat, from the bar of
        entry to the bar of exit.
    """
    minutes = int((end - start).total_seconds() // 60)
    origin = pl.lit(start).dt.cast_time_unit("us")
    rows = trades.select(
        "symbol",
        "timeframe",
        (
            pl.when(pl.col("side") == "long").then(1.0).otherwise(-1.0)
            * (pl.col("quantity") * pl.col("entry_price") / pl.col("equity"))
        ).alias("size"),
        (pl.col("entry_ts") - origin).dt.total_minutes().clip(0, minutes).alias("from"),
        (pl.col("exit_ts") - origin).dt.total_minutes().clip(0, minutes).alias("to"),
    )
    lanes = rows.partition_by("symbol", "timeframe", as_dict=True).items()
    return {(str(symbol), str(timeframe)): _runs(lane, minutes) for (symbol, timeframe), lane in lanes}


def _runs(trades: pl.DataFrame, minutes: int) -> Held:
    """Return the runs of one lane's trades: they follow each other; of a bar with two, both count."""
    begin, end = (trades[name].to_numpy() for name in ("from", "to"))
    edges = np.unique(np.concatenate([begin, end, [0, minutes]])).astype(np.int64)
    sizes = np.zeros(max(len(edges) - 1, 0))
    first = np.searchsorted(edges, begin)
    count = np.searchsorted(edges, end) - first  # runs of a trade: one, where nothing else begins or ends in it
    skipped = np.cumsum(count) - count
    np.add.at(sizes, np.repeat(first - skipped, count) + np.arange(count.sum()), np.repeat(trades["size"], count))
    return Held(edges[1:], sizes)


def daily_weights(result: BookResult) -> FloatArray:
    """Return the target weights of a book in force at the last bar of each day, the mean over the tranches.

    The result has shape (n_days, n_symbols); before the first decision weights are 0.
    """
    market = result.market
    bars = max(1, _DAY // bar_length(market.timeframe))
    rows = np.arange(result.begin + bars - 1, len(market.ts), bars)
    total = np.zeros((len(rows), len(market.symbols)))
    for tranche in result.tranches:
        if not len(tranche.weights):
            continue
        place = np.searchsorted(tranche.decisions[:, kernel.D_ROW], rows, side="right") - 1
        total += np.where((place >= 0)[:, None], tranche.weights[np.maximum(place, 0)], 0.0)
    return total / len(result.tranches)


def weights_held(result: BookResult) -> Positions:
    """Return a book's weight of each symbol that it ever wanted, day by day, as positions that can be compared."""
    weights = daily_weights(result)
    days = np.arange(1, len(weights) + 1)
    named = zip(result.market.symbols, weights.T, strict=True)
    return {(symbol, _UNIVERSE): Held(days, own) for symbol, own in named if own.any()}


def resemblance(one: Positions, other: Positions) -> float:
    """Return the correlation of the positions of two strategies, or books, over the lanes on which either traded.

    A lane on which only one traded counts with the other flat. Windows of different lengths end together; the shorter
    one counts. 0 where either never traded.
    """
    if not one or not other:
        return 0.0
    shared = min(int(held.ends[-1]) for side in (one, other) for held in side.values())
    pairs = [_pair(one.get(lane), other.get(lane), shared) for lane in sorted(set(one) | set(other))]
    steps, a, b = (np.concatenate(part) for part in zip(*pairs, strict=True))
    if (
        np.ptp(a) == 0 or np.ptp(b) == 0
    ):  # held throughout, or too short for a minute: the size is no difference of kind
        return float(bool(np.ptp(a) == np.ptp(b) and np.sign(a[0]) == np.sign(b[0])))
    a, b = (side - np.average(side, weights=steps) for side in (a, b))
    return float(steps @ (a * b) / np.sqrt((steps @ a**2) * (steps @ b**2)))


def _pair(one: Held | None, other: Held | None, shared: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the positions of two strategies on one lane, of which one of them may have none, on runs of both.

    Parameters
    ----------
    one, other : Held, optional
        Null is flat.
    shared : int
        The last steps that count.

    Returns
    -------
    tuple of three ndarrays of shape (n_runs,)
        Steps of each run, and what each of the two held.
    """
    there = [held for held in (one, other) if held is not None]
    ends = [held.ends - (held.ends[-1] - shared) for held in there]
    edges = np.unique(np.concatenate(ends))
    edges = edges[edges > 0]
    sizes = iter([held.sizes[np.searchsorted(own, edges)] for held, own in zip(there, ends, strict=True)])
    flat = np.zeros(len(edges))
    a, b = (flat if held is None else next(sizes) for held in (one, other))
    return np.diff(edges, prepend=0).astype(np.float64), a, b


def find_duplicate(candidate: Positions, known: Mapping[str, Positions]) -> tuple[str, float] | None:
    """Return the known strategy of which the candidate is a duplicate, and their correlation; None where it is new.

    Parameters
    ----------
    candidate : Positions
        Of the candidate.
    known : mapping of str to Positions
        Of known strategies over the same window, by name.

    Examples
    --------
    >>> long = {("BTC-USDT", "5m"): Held(ends=np.array([1, 3, 4]), sizes=np.array([0.0, 1.0, 0.0]))}
    >>> find_duplicate(long, {"first": long})
    ('first', 1.0)
    """
    correlations = [(resemblance(candidate, other), name) for name, other in sorted(known.items())]
    strongest = max(correlations, default=(0.0, ""), key=lambda pair: pair[0])
    return (strongest[1], strongest[0]) if strongest[0] >= SAME else None
