"""Whether two strategies do the same, whatever their text says.

Belongs here: positions over time from trades, their correlation, the search for a double. Does not belong here:
refusing or archiving it (the cycle does).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

SAME: Final = 0.99
"""From this correlation of positions on, two strategies are one."""

Positions = Mapping[tuple[str, str], npt.NDArray[np.int8]]


def positions(trades: pl.DataFrame, start: datetime, end: datetime) -> Positions:
    """Return the position of every lane that traded, minute by minute.

    Parameters
    ----------
    trades : DataFrame
        `symbol, timeframe, side, entry_ts, exit_ts`, as the backtester returns them.
    start, end : datetime
        The window; one element for each minute in it.

    Returns
    -------
    dict of (symbol, timeframe) to ndarray of int8
        1 long, -1 short, 0 flat, from the bar of entry to the bar of exit.
    """
    minutes = int((end - start).total_seconds() // 60)
    origin = pl.lit(start).dt.cast_time_unit("us")
    rows = trades.select(
        "symbol",
        "timeframe",
        pl.when(pl.col("side") == "long").then(1).otherwise(-1).alias("sign"),
        (pl.col("entry_ts") - origin).dt.total_minutes().clip(0, minutes).alias("from"),
        (pl.col("exit_ts") - origin).dt.total_minutes().clip(0, minutes).alias("to"),
    )
    found: dict[tuple[str, str], npt.NDArray[np.int8]] = {}
    for (symbol, timeframe), lane in rows.partition_by("symbol", "timeframe", as_dict=True).items():
        steps = np.zeros(minutes + 1, dtype=np.int64)
        sign = lane["sign"].to_numpy()
        np.add.at(steps, lane["from"].to_numpy(), sign)
        np.add.at(steps, lane["to"].to_numpy(), -sign)
        found[str(symbol), str(timeframe)] = np.cumsum(steps[:-1]).clip(-1, 1).astype(np.int8)
    return found


def resemblance(one: Positions, other: Positions) -> float:
    """Return the correlation of two strategies' positions over the lanes on which either traded.

    A lane on which only one traded counts with the other flat. 0 where either never traded.
    """
    lanes = sorted(set(one) | set(other))
    if not one or not other:
        return 0.0
    flat = np.zeros(len(next(iter(one.values()))), dtype=np.int8)
    a = np.concatenate([one.get(lane, flat) for lane in lanes]).astype(np.float64)
    b = np.concatenate([other.get(lane, flat) for lane in lanes]).astype(np.float64)
    if not a.std() or not b.std():
        return 1.0 if np.array_equal(a, b) else 0.0
    return float(np.corrcoef(a, b)[0, 1])


def find_duplicate(candidate: Positions, known: Mapping[str, Positions]) -> tuple[str, float] | None:
    """Return the known strategy that the candidate repeats, with their correlation; None where it is new.

    Parameters
    ----------
    candidate : Positions
        Of the newcomer.
    known : mapping of str to Positions
        Of those that it must differ from, by name; over the same window.
    """
    found = [(resemblance(candidate, each), name) for name, each in sorted(known.items())]
    strongest = max(found, default=(0.0, ""), key=lambda pair: pair[0])
    return (strongest[1], strongest[0]) if strongest[0] >= SAME else None
