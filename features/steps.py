"""Permanent steps of a price: a redenomination, a change of unit, or a crash. Bars alone cannot tell which.

Belongs here: finding them in candles. Does not belong here: recording their meaning (`blofin_resources.market.steps`),
a single bad bar (`blofin_resources.market.checks.jumps`), repairing anything.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from features.bars import TS, Timeframe, bar_length, floor_time

FACTOR: Final = 5.0
"""A price change by this factor, up or down, from one bar to the next or from a 1-minute bar's open to its close, is a
step. The largest moves of liquid perpetuals within a minute are below 2; units change by 10 or more.
"""

STEP_SCHEMA: Final = pl.Schema({"symbol": pl.String(), "ts": TS, "ratio": pl.Float64(), "before_ts": TS})
"""`ts` opening time of the first bar with the new price, `ratio` new price / old price, `before_ts` the bar before."""


class Step(NamedTuple):
    """One step; its text names symbol, time and ratio."""

    symbol: str
    ts: datetime
    ratio: float

    def __str__(self) -> str:
        """Return symbol, ratio and time."""
        ratio = f"{self.ratio:,.6g} : 1" if self.ratio >= 1 else f"1 : {1 / self.ratio:,.6g}"
        return f"{self.symbol} steps by {ratio} at {self.ts:%Y-%m-%dT%H:%MZ}"


def find_steps(candles: pl.DataFrame) -> pl.DataFrame:
    """Find the price steps in candles, regardless of gaps between bars and of flags.

    Parameters
    ----------
    candles : DataFrame
        `features.bars.CANDLE_SCHEMA`, or at least symbol, ts, open and close; sorted by (symbol, ts). Pass the
        shortest bars available: in longer ones a real move may be as large.

    Returns
    -------
    DataFrame
        `STEP_SCHEMA`, sorted by (symbol, ts). The first bar of a symbol has no predecessor.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> bars = pl.DataFrame(
    ...     {
    ...         "symbol": ["BTC-USDT"] * 2,
    ...         "ts": [datetime(2025, 6, 1, 0, minute, tzinfo=UTC) for minute in (0, 1)],
    ...         "open": [100.0, 1000.0],
    ...         "close": [100.0, 1001.0],
    ...     }
    ... )
    >>> find_steps(bars)["ratio"].to_list()
    [10.0]
    """
    between = pl.col("open") / pl.col("close").shift(1).over("symbol")
    inside = pl.col("close") / pl.col("open")
    far = [(ratio >= FACTOR) | (ratio <= 1 / FACTOR) for ratio in (between, inside)]
    ratio = pl.when(far[0].fill_null(value=False)).then(between).otherwise(inside)
    found = candles.with_columns(ratio=ratio, before_ts=pl.col("ts").shift(1).over("symbol"))
    return found.filter(far[0].fill_null(value=False) | far[1]).select(
        "symbol", "ts", "ratio", pl.coalesce("before_ts", "ts").alias("before_ts")
    )


def unexplained_steps(
    candles: pl.DataFrame, timeframe: Timeframe, real: Collection[tuple[str, datetime]]
) -> list[Step]:
    """Return the price steps that nobody has called a move of the market.

    Parameters
    ----------
    candles : DataFrame
        As for `find_steps`, bars of one timeframe.
    timeframe : Timeframe
        Length of the bars.
    real : collection of (str, datetime)
        Symbol and time (UTC) of the steps that are moves; a time within a bar is that of the bar.

    Returns
    -------
    list of Step
        Sorted by (symbol, ts).
    """
    explained = {(symbol, floor_time(moment, bar_length(timeframe))) for symbol, moment in real}
    rows = find_steps(candles).select("symbol", "ts", "ratio").iter_rows()
    return [Step(symbol, ts, ratio) for symbol, ts, ratio in rows if (symbol, ts) not in explained]
