"""Look-ahead tests.

Belongs here: comparing results with and without a future, for features and for anything else computed from candles.
Does not belong here: the choice of what to test (`tests`, `features.loading`).

A computation is causal if removing the future, or replacing it by noise, changes nothing up to the cut.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from features.bars import Timeframe, bar_length
from features.engine import compute
from features.market import Market
from features.registry import Registry

TOLERANCE = 1e-9
"""Relative difference that counts as none: sums may be taken in another order."""

_EARLY = (1, 9, 40)

Computation = Callable[[Market], pl.DataFrame]


@dataclass(frozen=True)
class LookAhead:
    """One value that changed when its future did."""

    column: str
    symbol: str
    ts: datetime
    cut: datetime
    future: str
    before: object
    after: object

    def __str__(self) -> str:
        """Describe it in one line."""
        return (
            f"{self.column} of {self.symbol} at {self.ts} was {self.before} and became {self.after} "
            f"when the data after {self.cut} were {self.future}"
        )


def telling_cuts(market: Market, timeframe: Timeframe, count: int, seed: int) -> list[datetime]:
    """Choose moments at which a look-ahead would show: closing times of bars, in order.

    `count` random bars, and bars where many formulas are peculiar: some of the first ones, a bar with unknown volume,
    a flagged one, the last before a gap and one amid equal closes.

    Parameters
    ----------
    market : Market
        The data.
    timeframe : Timeframe
        Bars to choose from.
    count : int
        Number of random bars.
    seed : int
        Seed of the choice.

    Returns
    -------
    list of datetime
        Sorted closing times (UTC).
    """
    frame = market.candles[timeframe]
    rng = np.random.default_rng(seed)
    times = frame["ts"].unique().sort()
    step = bar_length(timeframe)
    same = pl.col("symbol") == pl.col("symbol").shift(-1)
    peculiar = (
        pl.col("volume").is_null() & pl.col("flag").is_null(),
        pl.col("flag").is_not_null(),
        same & (pl.col("ts").shift(-1) > pl.col("ts") + step),
        same & (pl.col("close").shift(-1) == pl.col("close")) & (pl.col("close").shift(1) == pl.col("close")),
    )
    chosen = {times[row] for row in _EARLY if row < len(times)}
    for condition, number in ((pl.lit(value=True), count), *((condition, 2) for condition in peculiar)):
        candidates = frame.filter(condition)["ts"]
        rows = rng.choice(len(candidates), size=min(number, len(candidates)), replace=False)
        chosen |= {candidates[int(row)] for row in rows}
    return sorted(moment + step for moment in chosen)


def look_ahead(
    computation: Computation, market: Market, timeframe: Timeframe, cuts: Sequence[datetime], seed: int = 0
) -> list[LookAhead]:
    """Return the columns of a computation that look ahead, one example each.

    Parameters
    ----------
    computation : callable
        From a market to a frame with `symbol`, `ts` (opening time of a bar of `timeframe`) and any other columns.
    market : Market
        The whole data.
    timeframe : Timeframe
        Bars of the rows that the computation returns.
    cuts : sequence of datetime
        Moments; results known at each may not change with its future.
    seed : int
        Seed of the noise.

    Returns
    -------
    list of LookAhead
        Empty for a causal computation.

    Raises
    ------
    ValueError
        If the rows themselves change with the future.

    Examples
    --------
    >>> from features.market import example_market
    >>> market = example_market(bars=300)
    >>> cuts = telling_cuts(market, "1m", count=3, seed=1)
    >>> def following_close(market: Market) -> pl.DataFrame:
    ...     return market.candles["1m"].select("symbol", "ts", leak=pl.col("close").shift(-1).over("symbol"))
    >>> [found.column for found in look_ahead(following_close, market, "1m", cuts)]
    ['leak']
    """
    whole = computation(market)
    found: dict[str, LookAhead] = {}
    for number, cut in enumerate(cuts):
        futures = {"removed": market.cut(cut), "replaced by noise": market.noised(cut, seed + number)}
        past = whole.filter(pl.col("ts") <= cut - bar_length(timeframe))
        for name, other in futures.items():
            again = computation(other).filter(pl.col("ts") <= cut - bar_length(timeframe))
            for seen in _differences(past, again, cut, name):
                found.setdefault(seen.column, seen)
    return list(found.values())


def feature_look_ahead(
    names: Iterable[str],
    market: Market,
    timeframe: Timeframe,
    cuts: Sequence[datetime],
    registry: Registry | None = None,
) -> list[LookAhead]:
    """Return the features that look ahead on bars of `timeframe`, one example each.

    Parameters
    ----------
    names : iterable of str
        Features to test.
    market : Market
        The whole data.
    timeframe : Timeframe
        Bars on which they are computed.
    cuts : sequence of datetime
        As in `look_ahead`.
    registry : Registry, optional
        The known features; by default those of this package.

    Returns
    -------
    list of LookAhead
        Empty if all features are causal.

    Examples
    --------
    >>> from features.market import example_market
    >>> market = example_market(bars=300)
    >>> feature_look_ahead(["rsi_14"], market, "1m", telling_cuts(market, "1m", count=3, seed=1))
    []
    """
    wanted = list(names)

    def computation(given: Market) -> pl.DataFrame:
        frame = given.candles[timeframe]
        return compute(
            frame,
            wanted,
            given.funding,
            timeframe=timeframe,
            registry=registry,
            others=given.candles,
            predictions=given.predictions,
            positioning=given.positioning,
        ).select("symbol", "ts", *wanted)

    return look_ahead(computation, market, timeframe, cuts)


def _differences(before: pl.DataFrame, after: pl.DataFrame, cut: datetime, future: str) -> list[LookAhead]:
    if before.select("symbol", "ts").equals(after.select("symbol", "ts")):
        columns = [name for name in before.columns if name not in {"symbol", "ts"}]
        if before.equals(after):
            return []
        return [seen for name in columns if (seen := _difference(name, before, after, cut, future))]
    msg = f"the rows before {cut} changed when the data after it were {future}: {before.height} became {after.height}"
    raise ValueError(msg)


def _difference(column: str, before: pl.DataFrame, after: pl.DataFrame, cut: datetime, future: str) -> LookAhead | None:
    was, now = before[column], after[column]
    same = was.eq_missing(now)
    if was.dtype.is_float():
        scale = np.maximum(was.abs(), now.abs())
        same = same | ((was - now).abs() <= TOLERANCE * scale).fill_null(value=False)
    if same.all():
        return None
    row = int((~same).arg_true()[0])
    symbol, ts = before.select("symbol", "ts").row(row)
    return LookAhead(column, symbol, ts, cut, future, was[row], now[row])
