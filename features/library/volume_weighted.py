"""Volume-weighted: prices and moves that count by how much was traded.

Belongs here: features that weight price by volume. Does not belong here: volume alone (`volume`). Null wherever a
volume that they read is unknown, or where nothing was traded in the window.
"""

from datetime import timedelta

import polars as pl

from features import kernels
from features.definition import Kernel, ema_warmup, feature, rolling

CLOSE, VOLUME = pl.col("close"), pl.col("volume")
TYPICAL = pl.col("hlc3")
NOTHING = "a volume in the window is unknown, or nothing was traded in it"
DAY_MICROSECONDS = 86_400_000_000


@feature(
    "vwap",
    group="volume_weighted",
    unit="quote",
    warmup=timedelta(days=1),
    bounds=(0, None),
    nulls="a volume since midnight is unknown, nothing was traded, or the data do not reach back to midnight",
)
def vwap() -> pl.Expr:
    """Volume-weighted mean of hlc3 since 00:00 UTC."""
    day = pl.col("ts").to_physical() / DAY_MICROSECONDS
    return rolling(kernels.session_average, TYPICAL, VOLUME, day, by=())


@feature(
    "vwap_distance",
    group="volume_weighted",
    unit="ratio",
    warmup=timedelta(days=1),
    bounds=(-1, None),
    nulls="vwap is null",
)
def vwap_distance() -> pl.Expr:
    """Close relative to the day's volume-weighted mean: close / vwap - 1."""
    return CLOSE / pl.col("vwap") - 1


@feature(
    "vwap_<n>",
    group="volume_weighted",
    unit="quote",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    nulls=NOTHING,
    standard=("vwap_60",),
)
def vwap_over(n: int) -> pl.Expr:
    """Volume-weighted mean of hlc3 over n bars."""
    return _weighted(TYPICAL, n)


@feature(
    "vwma_<n>",
    group="volume_weighted",
    unit="quote",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    nulls=NOTHING,
    default=(20,),
    standard=("vwma_20",),
)
def vwma(n: int) -> pl.Expr:
    """Volume-weighted moving average of the close over n bars."""
    return _weighted(CLOSE, n)


@feature(
    "volume_weighted_momentum_<n>",
    group="volume_weighted",
    unit="ratio per bar",
    warmup=lambda n: n,
    bounds=(-1, None),
    nulls=NOTHING,
    default=(10,),
    standard=("volume_weighted_momentum",),
)
def volume_weighted_momentum(n: int) -> pl.Expr:
    """Mean one-bar return of n bars, each weighted by its volume."""
    return _weighted(CLOSE / CLOSE.shift(1) - 1, n)


@feature(
    "mfi_<n>",
    group="volume_weighted",
    unit="0 to 100",
    warmup=lambda n: n,
    bounds=(0, 100),
    nulls=NOTHING,
    default=(14,),
    standard=("mfi_14",),
)
def mfi(n: int) -> Kernel:
    """Money flow index of n changes of hlc3 (Quong, Soudack 1989; TA-Lib MFI)."""
    return Kernel(kernels.money_flow, ("high", "low", "close", "volume"), (n,))


@feature(
    "chaikin_money_flow_<n>",
    group="volume_weighted",
    unit="ratio",
    warmup=lambda n: n - 1,
    bounds=(-1, 1),
    nulls=NOTHING,
    default=(20,),
    standard=("chaikin_money_flow_20",),
)
def chaikin_money_flow(n: int) -> pl.Expr:
    """Volume-weighted place of the close in its bar, -1 to 1; a bar without range counts as 0 (Chaikin)."""
    span = pl.col("high") - pl.col("low")
    place = pl.when(span > 0).then((2 * CLOSE - pl.col("high") - pl.col("low")) / span).otherwise(0.0)
    return _weighted(place, n).clip(-1, 1)


@feature(
    "force_index_<n>",
    group="volume_weighted",
    unit="quote * base",
    warmup=lambda n: 1 + ema_warmup(n),
    window=lambda n: n + 1,
    nulls="a volume is unknown; it restarts after that",
    default=(13,),
    standard=("force_index_13",),
)
def force_index(n: int) -> pl.Expr:
    """Exponential moving average over n bars of the close's change times volume (Elder 1993)."""
    return rolling(kernels.exponential_average, (CLOSE - CLOSE.shift(1)) * VOLUME, by=(n,))


def _weighted(value: pl.Expr, n: int) -> pl.Expr:
    """Mean of n values weighted by volume."""
    known = pl.when(value.is_not_null()).then(VOLUME)
    return rolling(kernels.moving_sum, value * VOLUME, by=(n,)) / rolling(kernels.moving_sum, known, by=(n,))
