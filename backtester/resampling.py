"""Longer bars from shorter ones, of any timeframe from any that it is a multiple of.

Belongs here: the one definition of a longer bar, used by the warehouse and by everything that reads minutes. Does not
belong here: filling gaps. A bar that lacks a minute, or holds a flagged one, is flagged itself, but for a few *silent*
minutes: those in which nothing was traded, so that one price stands for all (flag `single_price`). They are no market,
yet they are not unknown either, and where 2 % of all minutes are silent three hours of four hold one. So a bar may
hold silent minutes up to `SILENT_SHARE` of its length, if it does not open with one: an order fills at the open.
"""

from datetime import datetime
from typing import Final

import polars as pl

from features.bars import CANDLE_SCHEMA, MINUTES, Timeframe, bar_length

INCOMPLETE: Final = "incomplete"
"""Flag of a bar that lacks a minute, opens with a silent one, or holds another flagged or too many silent ones."""
SILENT: Final = "single_price"
"""Flag of a minute in which nothing was traded."""
SILENT_SHARE: Final = 0.1
"""Share of a bar's minutes that may be silent: none of five, six of sixty."""

_SUMS: Final = ("volume", "quote_volume", "contracts")


def aggregate(candles: pl.DataFrame, timeframe: Timeframe, as_of: datetime | None = None) -> pl.DataFrame:
    """Return the longer bars of all symbols in a frame of shorter ones.

    Parameters
    ----------
    candles : DataFrame
        `CANDLE_SCHEMA`, sorted by (symbol, ts); 1-minute bars or any timeframe whose bars fit into the new ones.
    timeframe : Timeframe
        Length of the new bars; they begin at whole multiples of it since midnight UTC.
    as_of : datetime, optional
        Only bars whose period has ended by then, and only minutes closed by then. By default the end of the last
        minute in the frame, so a period still running there is left out.

    Returns
    -------
    DataFrame
        `CANDLE_SCHEMA`, sorted by (symbol, ts). Open of the first, close of the last, highest high, lowest low, sums of
        the volumes (null where one inside is null: an unknown part makes an unknown sum) and of `minutes`; `origin`
        joined by a comma where several; `flag` is 'incomplete' where a minute is missing or flagged, else null: silent
        minutes flag a bar only if it opens with one or they are more than `SILENT_SHARE` of it. A period without any
        minute has no row.
    """
    if candles.is_empty():
        return pl.DataFrame(schema=CANDLE_SCHEMA)
    minutes = pl.col("minutes").cast(pl.Int64)
    closes = pl.col("ts") + pl.duration(minutes=_bar_minutes(candles))
    now = candles.select(closes.max()).item() if as_of is None else as_of
    period = pl.col("ts").dt.truncate(f"{MINUTES[timeframe]}m").alias("period")
    full = MINUTES[timeframe]
    return (
        candles.lazy()
        .filter(closes <= now)
        .group_by("symbol", period, maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            *(pl.when(pl.col(name).null_count() == 0).then(pl.col(name).sum()).alias(name) for name in _SUMS),
            minutes.sum().cast(pl.Int32).alias("minutes"),
            _origin(several=candles["origin"].n_unique() > 1),
            (pl.col("flag") != SILENT).any().alias("unsound"),
            pl.col("flag").first().is_not_null().alias("opens_flagged"),
            minutes.filter(pl.col("flag") == SILENT).sum().alias("silent"),
        )
        .with_columns(
            pl.when(
                pl.col("unsound")
                | pl.col("opens_flagged")
                | (pl.col("silent") > SILENT_SHARE * full)
                | (pl.col("minutes") < full)
            )
            .then(pl.lit(INCOMPLETE))
            .alias("flag"),
        )
        .rename({"period": "ts"})
        .filter(pl.col("ts") + bar_length(timeframe) <= now)
        .select(CANDLE_SCHEMA.names())
        # in memory each sum is taken in the order of its minutes; streamed, in parts that depend on the other bars
        .collect(engine="in-memory")
        .cast(CANDLE_SCHEMA)
    )


def _origin(*, several: bool) -> pl.Expr:
    """Return where a bar's minutes come from; a frame of one origin, as most are, needs no text to be put together."""
    origin = pl.col("origin")
    return origin.drop_nulls().unique().sort().str.join(",").alias("origin") if several else origin.first()


def _bar_minutes(candles: pl.DataFrame) -> int:
    """Return the length of the given bars: that of the fullest one, since a bar may lack minutes but has none extra."""
    longest = candles["minutes"].max()
    return int(longest) if isinstance(longest, int) else 1
