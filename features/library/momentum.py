"""Momentum: how far and how steadily the price has moved.

Belongs here: differences, rates of change, relative strength. Does not belong here: bounded place in a range
(`oscillators`), averages and directional movement (`trend`).
"""

import math

import polars as pl

from features import kernels
from features.definition import Kernel, ema_warmup, feature, rolling, wilder_warmup

CLOSE = pl.col("close")
UNMOVED = "the price has not moved since the data began"


@feature(
    "rsi_<n>",
    group="momentum",
    unit="0 to 100",
    warmup=wilder_warmup,
    window=lambda n: n + 1,
    bounds=(0, 100),
    nulls=UNMOVED,
    default=(14,),
    standard=("rsi_7", "rsi_14", "rsi_21"),
)
def rsi(n: int) -> Kernel:
    """Relative strength index of n changes, Wilder's smoothing (Wilder 1978; TA-Lib RSI)."""
    return Kernel(kernels.relative_strength, ("close",), (n,))


@feature(
    "momentum_<n>",
    group="momentum",
    unit="quote",
    warmup=lambda n: n,
    default=(10,),
    standard=("momentum_10",),
    minimum=1,
)
def momentum(n: int) -> Kernel:
    """Change of price over n bars: close - close n bars ago (TA-Lib MOM)."""
    return Kernel(kernels.change, ("close",), (n,))


@feature(
    "rate_of_change_<n>",
    group="momentum",
    unit="percent",
    warmup=lambda n: n,
    bounds=(-100, None),
    default=(12,),
    standard=("rate_of_change_12",),
    minimum=1,
)
def rate_of_change(n: int) -> Kernel:
    """Rate of change over n bars: 100 * (close / close n bars ago - 1) (TA-Lib ROC)."""
    return Kernel(kernels.relative_change, ("close",), (n,))


@feature(
    "acceleration_<n>",
    group="momentum",
    unit="ratio",
    warmup=lambda n: 2 * n,
    default=(10,),
    standard=("acceleration_10",),
    minimum=1,
)
def acceleration(n: int) -> pl.Expr:
    """Change of the n-bar return against the n bars before."""
    change = CLOSE / CLOSE.shift(n) - 1
    return change - change.shift(n)


@feature(
    "zscore_<n>",
    group="momentum",
    unit="standard deviations",
    warmup=lambda n: n - 1,
    nulls="all closes in the window are equal",
    default=(20,),
    standard=("zscore_20",),
)
def zscore(n: int) -> pl.Expr:
    """Close as a z-score of n bars: (close - sma_<n>) / std_dev_<n>."""
    return (CLOSE - pl.col(f"sma_{n}")) / pl.col(f"std_dev_{n}")


@feature(
    "risk_adjusted_momentum_<n>",
    group="momentum",
    unit="standard deviations",
    warmup=lambda n: n,
    nulls="all returns in the window are equal",
    default=(20,),
    standard=("risk_adjusted_momentum_20",),
)
def risk_adjusted_momentum(n: int) -> pl.Expr:
    """Log return of n bars in units of its own volatility: log_returns_<n> / (realized_volatility_<n> * sqrt(n))."""
    return (CLOSE / CLOSE.shift(n)).log() / (pl.col(f"realized_volatility_{n}") * math.sqrt(n))


@feature(
    "up_share_<n>",
    group="momentum",
    unit="ratio",
    warmup=lambda n: n,
    bounds=(0, 1),
    default=(20,),
    standard=("up_share_20",),
)
def up_share(n: int) -> pl.Expr:
    """Share of the last n bars that closed above the one before."""
    return rolling(kernels.moving_average, (CLOSE - CLOSE.shift(1) > 0).cast(pl.Float64), by=(n,)).clip(0, 1)


@feature(
    "trix_<n>",
    group="momentum",
    unit="percent per bar",
    warmup=lambda n: 1 + 3 * ema_warmup(n),
    window=lambda n: 3 * n - 1,
    default=(15,),
    standard=("trix_15",),
)
def trix(n: int) -> pl.Expr:
    """Rate of change of a triple exponential moving average, in percent per bar (TA-Lib TRIX)."""
    smooth = pl.col(f"triple_ema_{n}")
    return 100 * (smooth / smooth.shift(1) - 1)


@feature(
    "true_strength_<slow>_<fast>",
    group="momentum",
    unit="-100 to 100",
    warmup=lambda slow, fast: 1 + ema_warmup(slow) + ema_warmup(fast),
    window=lambda slow, fast: slow + fast,
    bounds=(-100, 100),
    nulls=UNMOVED,
    default=(25, 13),
    standard=("true_strength_25_13",),
)
def true_strength(slow: int, fast: int) -> pl.Expr:
    """Index of true strength: twice smoothed change over twice smoothed absolute change (Blau 1991)."""
    change = CLOSE - CLOSE.shift(1)

    def twice(value: pl.Expr) -> pl.Expr:
        return rolling(kernels.exponential_average, rolling(kernels.exponential_average, value, by=(slow,)), by=(fast,))

    return (100 * twice(change) / twice(change.abs())).clip(-100, 100)
