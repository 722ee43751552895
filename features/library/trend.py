"""Trend: moving averages, their order and slope, directional movement.

Belongs here: features that smooth the price or measure direction. Does not belong here: verdicts about the state of
the market (`regime`), differences of averages known as MACD (`macd`).
"""

import math

import polars as pl

from features import kernels
from features.definition import Kernel, ema_warmup, feature, rolling, wilder_warmup

CLOSE = pl.col("close")


@feature(
    "sma_<n>",
    group="trend",
    unit="quote",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    default=(20,),
    standard=("sma_20", "sma_50", "sma_200"),
)
def sma(n: int) -> Kernel:
    """Unweighted moving average of the close (TA-Lib SMA)."""
    return Kernel(kernels.moving_average, ("close",), (n,))


@feature(
    "ema_<n>",
    group="trend",
    unit="quote",
    warmup=ema_warmup,
    window=lambda n: n,
    bounds=(0, None),
    default=(21,),
    standard=("ema_9", "ema_21", "ema_50"),
)
def ema(n: int) -> Kernel:
    """Exponential moving average of the close, weight 2 / (n + 1), seeded by the first n closes (TA-Lib EMA)."""
    return Kernel(kernels.exponential_average, ("close",), (n,))


@feature(
    "wma_<n>",
    group="trend",
    unit="quote",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    default=(20,),
    standard=("wma_20",),
)
def wma(n: int) -> Kernel:
    """Linearly weighted moving average of the close (TA-Lib WMA)."""
    return Kernel(kernels.weighted_average, ("close",), (n,))


@feature(
    "double_ema_<n>",
    group="trend",
    unit="quote",
    warmup=lambda n: 2 * ema_warmup(n),
    window=lambda n: 2 * n - 1,
    default=(21,),
)
def double_ema(n: int) -> pl.Expr:
    """Double exponential moving average: 2 * ema - ema of ema (Mulloy 1994; TA-Lib DEMA)."""
    once = pl.col(f"ema_{n}")
    return 2 * once - rolling(kernels.exponential_average, once, by=(n,))


@feature(
    "triple_ema_<n>",
    group="trend",
    unit="quote",
    warmup=lambda n: 3 * ema_warmup(n),
    window=lambda n: 3 * n - 2,
    bounds=(0, None),
    default=(15,),
)
def triple_ema(n: int) -> pl.Expr:
    """Close smoothed three times by an exponential moving average (the average inside TRIX, not TA-Lib TEMA)."""
    twice = rolling(kernels.exponential_average, pl.col(f"ema_{n}"), by=(n,))
    return rolling(kernels.exponential_average, twice, by=(n,))


@feature(
    "sma_distance_<n>",
    group="trend",
    unit="ratio",
    warmup=lambda n: n - 1,
    bounds=(-1, None),
    default=(50,),
    standard=("sma_distance_50", "sma_distance_200"),
)
def sma_distance(n: int) -> pl.Expr:
    """Close relative to its simple moving average: close / sma_<n> - 1."""
    return CLOSE / pl.col(f"sma_{n}") - 1


@feature(
    "ema_distance_<n>",
    group="trend",
    unit="ratio",
    warmup=ema_warmup,
    window=lambda n: n,
    bounds=(-1, None),
    default=(21,),
    standard=("ema_distance_21",),
)
def ema_distance(n: int) -> pl.Expr:
    """Close relative to its exponential moving average: close / ema_<n> - 1."""
    return CLOSE / pl.col(f"ema_{n}") - 1


@feature(
    "ema_spread_<fast>_<slow>",
    group="trend",
    unit="ratio",
    warmup=lambda fast, slow: ema_warmup(max(fast, slow)),
    window=max,
    bounds=(-1, None),
    default=(9, 21),
    standard=("ema_spread_9_21",),
)
def ema_spread(fast: int, slow: int) -> pl.Expr:
    """Fast relative to slow exponential moving average: ema_<fast> / ema_<slow> - 1."""
    return pl.col(f"ema_{fast}") / pl.col(f"ema_{slow}") - 1


@feature(
    "ema_slope_<n>",
    group="trend",
    unit="ratio per bar",
    warmup=lambda n: ema_warmup(n) + 1,
    window=lambda n: n + 1,
    bounds=(-1, None),
    default=(21,),
    standard=("ema_slope_21",),
)
def ema_slope(n: int) -> pl.Expr:
    """Relative change of the exponential moving average in one bar."""
    average = pl.col(f"ema_{n}")
    return average / average.shift(1) - 1


@feature(
    "trend_direction",
    group="trend",
    unit="-1, 0 or 1",
    warmup=ema_warmup(50),
    window=50,
    bounds=(-1, 1),
    dtype=pl.Int8,
)
def trend_direction() -> pl.Expr:
    """Order of the averages: 1 where ema_9 > ema_21 > ema_50, -1 where ema_9 < ema_21 < ema_50, else 0."""
    fast, middle, slow = (pl.col(f"ema_{n}") for n in (9, 21, 50))
    rising = (fast > middle) & (middle > slow)
    falling = (fast < middle) & (middle < slow)
    return rising.cast(pl.Int8) - falling.cast(pl.Int8)


@feature(
    "linreg_slope_<n>",
    group="trend",
    unit="quote per bar",
    warmup=lambda n: n - 1,
    default=(20,),
    standard=("linreg_slope_20",),
)
def linreg_slope(n: int) -> Kernel:
    """Slope of the least-squares line through n closes (TA-Lib LINEARREG_SLOPE)."""
    return Kernel(kernels.regression_slope, ("close",), (n,))


@feature(
    "linreg_r2_<n>",
    group="trend",
    unit="ratio",
    warmup=lambda n: n - 1,
    bounds=(0, 1),
    nulls="all closes in the window are equal",
    default=(20,),
    standard=("linreg_r2_20",),
)
def linreg_r2(n: int) -> pl.Expr:
    """Share of the variance of n closes that the least-squares line explains."""
    along = pl.col(f"linreg_slope_{n}") * math.sqrt((n * n - 1) / 12)
    return ((along / pl.col(f"std_dev_{n}")) ** 2).clip(0, 1)


@feature(
    "plus_di_<n>",
    group="trend",
    unit="0 to 100",
    warmup=wilder_warmup,
    window=lambda n: n + 1,
    bounds=(0, 100),
    nulls="the price has not moved since the data began",
    default=(14,),
    standard=("plus_di_14",),
)
def plus_di(n: int) -> Kernel:
    """Positive directional indicator of n bars (Wilder 1978; TA-Lib PLUS_DI)."""
    return Kernel(kernels.directional, ("high", "low", "close"), (n, True))


@feature(
    "minus_di_<n>",
    group="trend",
    unit="0 to 100",
    warmup=wilder_warmup,
    window=lambda n: n + 1,
    bounds=(0, 100),
    nulls="the price has not moved since the data began",
    default=(14,),
    standard=("minus_di_14",),
)
def minus_di(n: int) -> Kernel:
    """Negative directional indicator of n bars (Wilder 1978; TA-Lib MINUS_DI)."""
    return Kernel(kernels.directional, ("high", "low", "close"), (n, False))


@feature(
    "adx_<n>",
    group="trend",
    unit="0 to 100",
    warmup=lambda n: 2 * wilder_warmup(n),
    window=lambda n: 2 * n,
    bounds=(0, 100),
    nulls="there was no directional movement at all; it restarts after that",
    default=(14,),
    standard=("adx_14",),
)
def adx(n: int) -> pl.Expr:
    """Average directional index of n bars, the strength of a trend either way (Wilder 1978; TA-Lib ADX)."""
    plus, minus = pl.col(f"plus_di_{n}"), pl.col(f"minus_di_{n}")
    index = 100 * (plus - minus).abs() / (plus + minus)
    return rolling(kernels.wilder_average, index, by=(n,)).clip(0, 100)


@feature(
    "aroon_oscillator_<n>",
    group="trend",
    unit="-100 to 100",
    warmup=lambda n: n,
    bounds=(-100, 100),
    default=(25,),
    standard=("aroon_oscillator_25",),
)
def aroon_oscillator(n: int) -> pl.Expr:
    """Aroon up minus Aroon down: how much more recent the high of n + 1 bars is than their low (TA-Lib AROONOSC)."""
    since_high = rolling(kernels.bars_since_maximum, "high", by=(n + 1,))
    since_low = rolling(kernels.bars_since_maximum, -pl.col("low"), by=(n + 1,))
    return 100 * (since_low - since_high) / n
