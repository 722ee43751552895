"""Oscillators: where the price stands in its recent range.

Belongs here: bounded or mean-reverting indicators of place. Does not belong here: those of relative strength
(`momentum`), those that read volume (`volume_weighted`).
"""

import polars as pl

from features import kernels
from features.definition import Kernel, feature, rolling, wilder_warmup

EMPTY = "highest equals lowest in the window"
SMOOTH = 3


@feature(
    "stoch_fast_<n>",
    group="oscillators",
    unit="0 to 100",
    warmup=lambda n: n - 1,
    bounds=(0, 100),
    nulls=EMPTY,
    default=(14,),
    standard=("stoch_fast_14",),
)
def stoch_fast(n: int) -> Kernel:
    """Raw stochastic %K: place of the close in the range of n bars, 100 * (close - lowest) / (highest - lowest)."""
    return Kernel(kernels.place_in_range, ("close", f"lowest_{n}", f"highest_{n}"))


@feature(
    "stoch_k_<n>",
    group="oscillators",
    unit="0 to 100",
    warmup=lambda n: n + SMOOTH - 2,
    bounds=(0, 100),
    nulls=EMPTY,
    default=(14,),
    standard=("stoch_k",),
)
def stoch_k(n: int) -> Kernel:
    """Slow stochastic %K: mean of 3 values of stoch_fast_<n> (TA-Lib STOCH n, 3, 3)."""
    return Kernel(kernels.bounded_average, (f"stoch_fast_{n}",), (SMOOTH, 0.0, 100.0))


@feature(
    "stoch_d_<n>",
    group="oscillators",
    unit="0 to 100",
    warmup=lambda n: n + 2 * SMOOTH - 3,
    bounds=(0, 100),
    nulls=EMPTY,
    default=(14,),
    standard=("stoch_d",),
)
def stoch_d(n: int) -> Kernel:
    """Slow stochastic %D: mean of 3 values of stoch_k_<n> (TA-Lib STOCH n, 3, 3)."""
    return Kernel(kernels.bounded_average, (f"stoch_k_{n}",), (SMOOTH, 0.0, 100.0))


@feature(
    "stoch_rsi_<n>",
    group="oscillators",
    unit="0 to 100",
    warmup=lambda n: n - 1 + wilder_warmup(n),
    window=lambda n: 2 * n,
    bounds=(0, 100),
    nulls="the RSI is constant in the window",
    default=(14,),
    standard=("stoch_rsi",),
)
def stoch_rsi(n: int) -> pl.Expr:
    """Place of rsi_<n> in its own range of n bars (Chande, Kroll 1994; TA-Lib STOCHRSI n, n, 1)."""
    strength = pl.col(f"rsi_{n}")
    low = rolling(kernels.moving_minimum, strength, by=(n,))
    high = rolling(kernels.moving_maximum, strength, by=(n,))
    return (100 * ((strength - low) / (high - low))).clip(0, 100)


@feature(
    "williams_r_<n>",
    group="oscillators",
    unit="-100 to 0",
    warmup=lambda n: n - 1,
    bounds=(-100, 0),
    nulls=EMPTY,
    default=(14,),
    standard=("williams_r",),
)
def williams_r(n: int) -> Kernel:
    """Williams %R: distance of the close from the high of n bars, in percent of their range (TA-Lib WILLR)."""
    return Kernel(kernels.distance_from_top, ("close", f"lowest_{n}", f"highest_{n}"))


@feature(
    "cci_<n>",
    group="oscillators",
    unit="index",
    warmup=lambda n: n - 1,
    nulls="all typical prices in the window are equal",
    default=(20,),
    standard=("cci_20",),
)
def cci(n: int) -> pl.Expr:
    """Commodity channel index: (hlc3 - mean) / (0.015 * mean absolute deviation) of n bars (TA-Lib CCI)."""
    typical = pl.col("hlc3")
    mean = rolling(kernels.moving_average, typical, by=(n,))
    return (typical - mean) / (0.015 * rolling(kernels.mean_absolute_deviation, typical, by=(n,)))


@feature(
    "ultimate_oscillator",
    group="oscillators",
    unit="0 to 100",
    warmup=28,
    bounds=(0, 100),
    nulls="nothing moved in 7 bars",
)
def ultimate_oscillator() -> Kernel:
    """Buying pressure over true range on 7, 14 and 28 bars, weighted 4:2:1 (Williams 1985; TA-Lib ULTOSC)."""
    return Kernel(kernels.ultimate, ("high", "low", "close"), (7, 14, 28))


@feature("awesome_oscillator", group="oscillators", unit="quote", warmup=33)
def awesome_oscillator() -> pl.Expr:
    """Mean of 5 minus mean of 34 median prices (Williams 1998)."""
    short, long = (rolling(kernels.moving_average, "hl2", by=(n,)) for n in (5, 34))
    return short - long
