"""Duplicates: strategies with the same positions, or books with the same weights, whatever their text.

Belongs here: positions over time from trades or from weights, their correlation, the search for a duplicate. Does not
belong here: rejecting or archiving it (the cycle does).
"""

from collections.abc import Mapping
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

Held = npt.NDArray[np.float32]
Positions = Mapping[tuple[str, str], Held]


def positions(trades: pl.DataFrame, start: datetime, end: datetime) -> Positions:
    """Return the position of every lane that traded, minute by minute.

    Parameters
    ----------
    trades : DataFrame
        `symbol, timeframe, side, entry_ts, exit_ts, quantity, entry_price, equity`, as the backtester returns them,
        after exits, stops, targets, sizes and leverage.
    start, end : datetime
        The window; one element for each minute in it.

    Returns
    -------
    dict of (symbol, timeframe) to ndarray of shape (n_minutes,), float32
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
    by_lane: dict[tuple[str, str], npt.NDArray[np.float32]] = {}
    for (symbol, timeframe), lane in rows.partition_by("symbol", "timeframe", as_dict=True).items():
        held = np.zeros(minutes, dtype=np.float32)
        for begin, end_, size in lane.select("from", "to", "size").iter_rows():
            held[begin:end_] += size  # trades of a lane follow each other; of a bar with two, both count
        by_lane[str(symbol), str(timeframe)] = held
    return by_lane


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
    weights = daily_weights(result).astype(np.float32)
    named = zip(result.market.symbols, weights.T, strict=True)
    return {(symbol, _UNIVERSE): own for symbol, own in named if own.any()}


def resemblance(one: Positions, other: Positions) -> float:
    """Return the correlation of the positions of two strategies, or books, over the lanes on which either traded.

    A lane on which only one traded counts with the other flat. Windows of different lengths end together; the shorter
    one counts. 0 where either never traded.
    """
    if not one or not other:
        return 0.0
    pairs = [_pair(one.get(lane), other.get(lane)) for lane in sorted(set(one) | set(other))]
    a, b = (np.concatenate(side).astype(np.float64) for side in zip(*pairs, strict=True))
    if not a.std() or not b.std():  # held throughout, or too short for a minute: the size is no difference of kind
        return float(bool(not a.std() and not b.std() and np.sign(a[0]) == np.sign(b[0])))
    return float(np.corrcoef(a, b)[0, 1])


def _pair(one: Held | None, other: Held | None) -> tuple[Held, Held]:
    """Return the positions of two strategies on one lane, of which one of them may have none."""
    own = np.zeros_like(other) if one is None else one
    theirs = np.zeros_like(own) if other is None else other
    shared = min(len(own), len(theirs))
    return own[len(own) - shared :], theirs[len(theirs) - shared :]


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
    >>> long = {("BTC-USDT", "5m"): np.array([0, 1, 1, 0], dtype=np.float32)}
    >>> find_duplicate(long, {"first": long})
    ('first', 1.0)
    """
    correlations = [(resemblance(candidate, other), name) for name, other in sorted(known.items())]
    strongest = max(correlations, default=(0.0, ""), key=lambda pair: pair[0])
    return (strongest[1], strongest[0]) if strongest[0] >= SAME else None
