"""Volume: how much was traded, compared with before, and on which side.

Belongs here: features of volume alone or signed by price. Does not belong here: prices weighted by volume
(`volume_weighted`). Null wherever a volume that they read is unknown.
"""

import polars as pl

from features import kernels
from features.definition import Kernel, ema_warmup, feature, rolling

VOLUME = pl.col("volume")
CLOSE = pl.col("close")
UNKNOWN = "a volume in the window is unknown"
SPIKE = 3.0


@feature("volume", group="volume", unit="base", warmup=0, bounds=(0, None), nulls="unknown")
def volume() -> pl.Expr:
    """Traded volume of the bar."""
    return VOLUME


@feature("quote_volume", group="volume", unit="quote", warmup=0, bounds=(0, None), nulls="unknown")
def quote_volume() -> pl.Expr:
    """Traded value of the bar."""
    return pl.col("quote_volume")


@feature(
    "volume_sma_<n>",
    group="volume",
    unit="base",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    nulls=UNKNOWN,
    default=(20,),
    standard=("volume_sma_20",),
)
def volume_sma(n: int) -> Kernel:
    """Mean volume of n bars."""
    return Kernel(kernels.moving_average, ("volume",), (n,))


@feature(
    "volume_ema_<n>",
    group="volume",
    unit="base",
    warmup=ema_warmup,
    window=lambda n: n,
    bounds=(0, None),
    nulls="a volume is unknown; it restarts after that",
    default=(9,),
    standard=("volume_ema_9",),
)
def volume_ema(n: int) -> Kernel:
    """Exponential moving average of volume over n bars (weight 2 / (n + 1))."""
    return Kernel(kernels.exponential_average, ("volume",), (n,))


@feature(
    "volume_ratio_<n>",
    group="volume",
    unit="ratio",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    nulls=f"{UNKNOWN}, or nothing was traded in it",
    default=(20,),
    standard=("volume_ratio",),
)
def volume_ratio(n: int) -> pl.Expr:
    """Volume relative to its mean of n bars: volume / volume_sma_<n>."""
    return VOLUME / pl.col(f"volume_sma_{n}")


@feature(
    "volume_zscore_<n>",
    group="volume",
    unit="standard deviations",
    warmup=lambda n: n - 1,
    nulls=f"{UNKNOWN}, or all are equal",
    default=(20,),
    standard=("volume_zscore_20",),
)
def volume_zscore(n: int) -> pl.Expr:
    """Volume as a z-score of n bars: (volume - mean) / population standard deviation."""
    return (VOLUME - pl.col(f"volume_sma_{n}")) / rolling(kernels.moving_deviation, "volume", by=(n,))


@feature(
    "volume_change",
    group="volume",
    unit="ratio",
    warmup=1,
    bounds=(-1, None),
    nulls="one volume is unknown or the previous is 0",
)
def volume_change() -> pl.Expr:
    """Change of volume: volume / previous volume - 1."""
    return VOLUME / VOLUME.shift(1) - 1


@feature("is_volume_spike", group="volume", unit="true or false", warmup=20, dtype=pl.Boolean, nulls=UNKNOWN)
def is_volume_spike() -> pl.Expr:
    """Volume above three times the mean of the 20 bars before it."""
    return VOLUME / pl.col("volume_sma_20").shift(1) > SPIKE


@feature(
    "volume_trend_<fast>_<slow>",
    group="volume",
    unit="ratio",
    warmup=lambda fast, slow: max(fast, slow) - 1,
    bounds=(-1, None),
    nulls=f"{UNKNOWN}, or nothing was traded in it",
    default=(5, 20),
    standard=("volume_trend_5_20",),
)
def volume_trend(fast: int, slow: int) -> pl.Expr:
    """Recent against usual volume: volume_sma_<fast> / volume_sma_<slow> - 1."""
    return pl.col(f"volume_sma_{fast}") / pl.col(f"volume_sma_{slow}") - 1


@feature(
    "volume_imbalance_<n>",
    group="volume",
    unit="ratio",
    warmup=lambda n: n,
    bounds=(-1, 1),
    nulls=f"{UNKNOWN}, or nothing was traded in it",
    default=(20,),
    standard=("volume_imbalance_20",),
)
def volume_imbalance(n: int) -> pl.Expr:
    """On-balance volume of n bars as a share of all: sum(sign(close change) * volume) / sum(volume)."""
    signed = (CLOSE - CLOSE.shift(1)).sign() * VOLUME
    total = rolling(kernels.moving_sum, "volume", by=(n,))
    return (rolling(kernels.moving_sum, signed, by=(n,)) / total).clip(-1, 1)


@feature(
    "on_balance_volume_<n>",
    group="volume",
    unit="base",
    warmup=lambda n: n,
    nulls=UNKNOWN,
    default=(20,),
)
def on_balance_volume(n: int) -> pl.Expr:
    """Change of Granville's on-balance volume over n bars (TA-Lib OBV less itself n bars ago)."""
    return rolling(kernels.moving_sum, (CLOSE - CLOSE.shift(1)).sign() * VOLUME, by=(n,))


@feature(
    "illiquidity_<n>",
    group="volume",
    unit="percent per million quote",
    warmup=lambda n: n,
    bounds=(0, None),
    nulls="a traded value in the window is unknown or 0",
    default=(20,),
    standard=("illiquidity_20",),
)
def illiquidity(n: int) -> pl.Expr:
    """Price impact of trading, mean of n bars: 100 * |return| / (quote_volume / 1e6) (Amihud 2002)."""
    traded = pl.when(pl.col("quote_volume") > 0).then(pl.col("quote_volume"))
    return rolling(kernels.moving_average, 1e8 * (CLOSE / CLOSE.shift(1) - 1).abs() / traded, by=(n,)).clip(0)
