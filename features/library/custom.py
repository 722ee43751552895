"""Custom: combinations of other features, written as a user would write them.

Belongs here: examples that are useful on their own. A user's features live in files outside this package, see
`features.loading`. Does not belong here: anything with a loop.
"""

import math

import polars as pl

from features.definition import ema_warmup, feature, wilder_warmup


@feature(
    "mean_reversion_score",
    unit="-1 to 1",
    warmup=wilder_warmup(14),
    window=20,
    bounds=(-1, 1),
    nulls="bbands_percent is null",
)
def mean_reversion_score() -> pl.Expr:
    """How stretched the price is: 1 far below its usual place (RSI, Bollinger bands), -1 far above."""
    stretched = 1 - pl.col("rsi_14") / 50
    outside = 1 - 2 * pl.col("bbands_percent_20")
    return ((stretched + outside) / 2).clip(-1, 1)


@feature("trend_pullback", unit="ATR", warmup=ema_warmup(50), window=50, nulls="atr_14 is 0")
def trend_pullback() -> pl.Expr:
    """Depth of a pullback against the trend in ATRs: (ema_9 - close) / atr_14 with the sign of trend_direction."""
    return pl.col("trend_direction") * (pl.col("ema_9") - pl.col("close")) / pl.col("atr_14")


@feature("breakout_strength", unit="ATR", warmup=wilder_warmup(14), window=21, nulls="atr_14 is 0")
def breakout_strength() -> pl.Expr:
    """Close beyond the extremes of the 20 bars before, in ATRs: positive above them, negative below, else 0."""
    above = (pl.col("close") - pl.col("highest_20").shift(1)).clip(0)
    below = (pl.col("lowest_20").shift(1) - pl.col("close")).clip(0)
    return (above - below) / pl.col("atr_14")


@feature("volume_confirmed_momentum", unit="percent", warmup=20, nulls="a volume of the last 20 bars is unknown")
def volume_confirmed_momentum() -> pl.Expr:
    """rate_of_change_12 times volume_ratio, the latter at most 3."""
    return pl.col("rate_of_change_12") * pl.col("volume_ratio_20").clip(0, 3)


@feature(
    "scaled_move_<n>_<m>",
    unit="standard deviations",
    warmup=max,
    nulls="the price has not moved for m bars",
)
def scaled_move(n: int, m: int) -> pl.Expr:
    """Log return of n bars in units of the volatility of m bars: large or small against what is usual of late."""
    return pl.col(f"log_returns_{n}") / (pl.col(f"realized_volatility_{m}") * math.sqrt(n))


@feature(
    "extreme_move_<n>_<m>_<k>",
    unit="standard deviations",
    warmup=lambda n, m, k: max(n, m) + k,
    nulls="the price has not moved for m bars",
)
def extreme_move(n: int, m: int, k: int) -> pl.Expr:
    """Largest move of n bars, up or down, that the last k bars saw, in units of the volatility of m bars."""
    move = pl.col(f"scaled_move_{n}_{m}")
    high, low = move.rolling_max(k), move.rolling_min(k)
    return pl.when(high >= -low).then(high).otherwise(low)
