"""Frames of the synthetic exchange from arrays.

Belongs here: the shared schemas, filled. Does not belong here: what is in the arrays (`_path`, `_process`, `_seats`).
"""

from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from blofin_resources.market.sample._listing import FUNDING_MINUTES
from blofin_resources.market.sample._process import Floats
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MINUTE_US, MINUTES, TS, Timeframe

NAME: Final = "sample"
"""The origin of every bar."""

_COLUMNS: Final = ("open", "high", "low", "close", "volume", "quote_volume", "contracts")


def candle_frame(symbol: str, start: datetime, timeframe: Timeframe, out: Floats) -> pl.DataFrame:
    """Return bars that follow each other without a gap.

    Parameters
    ----------
    symbol : str
        Whose bars they are.
    start : datetime
        Opening of the first (UTC).
    timeframe : Timeframe
        Length of a bar.
    out : ndarray of shape (7, bars)
        As `_path.bars` writes it.

    Returns
    -------
    DataFrame
        `CANDLE_SCHEMA`.
    """
    data = {"ts": _times(start, MINUTES[timeframe], out.shape[1]), **dict(zip(_COLUMNS, out, strict=True))}
    return (
        pl.DataFrame(data)
        .with_columns(
            pl.col("ts").cast(TS),
            symbol=pl.lit(symbol),
            minutes=pl.lit(MINUTES[timeframe], pl.Int32),
            origin=pl.lit(NAME),
            flag=pl.lit(None, pl.String),
        )
        .select(CANDLE_SCHEMA.names())
    )


def funding_frame(symbol: str, start: datetime, rates: Floats) -> pl.DataFrame:
    """Return payments that follow each other every eight hours.

    Parameters
    ----------
    symbol : str
        Whose payments they are.
    start : datetime
        Time of the first (UTC).
    rates : ndarray of shape (payments,)
        Fractions of notional.

    Returns
    -------
    DataFrame
        `FUNDING_SCHEMA`.
    """
    ts = _times(start, FUNDING_MINUTES, len(rates))
    return pl.DataFrame({"symbol": [symbol] * len(ts), "ts": ts, "rate": rates}).cast({"ts": TS}).cast(FUNDING_SCHEMA)


def _times(start: datetime, minutes: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return int(start.timestamp()) * 1_000_000 + np.arange(count) * (minutes * MINUTE_US)
