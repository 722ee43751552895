"""MACD: convergence and divergence of two exponential moving averages (Appel 1979).

Belongs here: the MACD line, its signal, histogram and crossings. Does not belong here: other differences of averages
(`trend`). Lengths are 12, 26 and 9 bars where the name does not say otherwise.
"""

import polars as pl

from features import kernels
from features.definition import Kernel, ema_warmup, feature, rolling

FAST, SLOW, SIGNAL = 12, 26, 9


def _ordered(fast: int, slow: int) -> None:
    if fast >= slow:
        msg = f"the fast length {fast} must be below the slow length {slow}"
        raise ValueError(msg)


@feature(
    "macd_<fast>_<slow>",
    group="macd",
    unit="quote",
    warmup=lambda fast, slow: ema_warmup(max(fast, slow)),
    window=max,
    default=(FAST, SLOW),
    standard=("macd_12_26",),
)
def macd(fast: int, slow: int) -> Kernel:
    """MACD line: fast minus slow exponential moving average of the close (TA-Lib MACD)."""
    _ordered(fast, slow)
    return Kernel(kernels.convergence, ("close",), (fast, slow))


@feature(
    "macd_signal_<n>",
    group="macd",
    unit="quote",
    warmup=lambda n: ema_warmup(SLOW) + ema_warmup(n),
    window=lambda n: SLOW + n - 1,
    default=(SIGNAL,),
    standard=("macd_signal_9",),
)
def macd_signal(n: int) -> Kernel:
    """Signal line: exponential moving average of macd_12_26 over n bars (TA-Lib MACD)."""
    return Kernel(kernels.exponential_average, (f"macd_{FAST}_{SLOW}",), (n,))


@feature(
    "macd_histogram",
    group="macd",
    unit="quote",
    warmup=ema_warmup(SLOW) + ema_warmup(SIGNAL),
    window=SLOW + SIGNAL - 1,
)
def macd_histogram() -> Kernel:
    """MACD line minus signal line: macd_12_26 - macd_signal_9 (TA-Lib MACD)."""
    return Kernel(kernels.combination, (f"macd_{FAST}_{SLOW}", f"macd_signal_{SIGNAL}"), (-1.0,))


@feature(
    "macd_histogram_<fast>_<slow>_<signal>",
    group="macd",
    unit="quote",
    warmup=lambda fast, slow, signal: ema_warmup(max(fast, slow)) + ema_warmup(signal),
    window=lambda fast, slow, signal: max(fast, slow) + signal - 1,
)
def macd_histogram_of(fast: int, slow: int, signal: int) -> pl.Expr:
    """MACD line minus its own signal line, for any three lengths (TA-Lib MACD)."""
    _ordered(fast, slow)
    line = pl.col(f"macd_{fast}_{slow}")
    return line - rolling(kernels.exponential_average, line, by=(signal,))


@feature(
    "macd_histogram_slope",
    group="macd",
    unit="quote per bar",
    warmup=ema_warmup(SLOW) + ema_warmup(SIGNAL) + 1,
    window=SLOW + SIGNAL,
)
def macd_histogram_slope() -> pl.Expr:
    """Change of macd_histogram in one bar."""
    return pl.col("macd_histogram") - pl.col("macd_histogram").shift(1)


@feature(
    "macd_cross",
    group="macd",
    unit="-1, 0 or 1",
    warmup=ema_warmup(SLOW) + ema_warmup(SIGNAL) + 1,
    window=SLOW + SIGNAL,
    bounds=(-1, 1),
    dtype=pl.Int8,
)
def macd_cross() -> pl.Expr:
    """1 on the bar on which the MACD line crosses above its signal, -1 below, else 0."""
    now, before = pl.col("macd_histogram"), pl.col("macd_histogram").shift(1)
    up = (now > 0) & (before <= 0)
    down = (now < 0) & (before >= 0)
    return up.cast(pl.Int8) - down.cast(pl.Int8)


@feature(
    "ppo_<fast>_<slow>",
    group="macd",
    unit="percent",
    warmup=lambda fast, slow: ema_warmup(max(fast, slow)),
    window=max,
    default=(FAST, SLOW),
    standard=("ppo_12_26",),
)
def ppo(fast: int, slow: int) -> pl.Expr:
    """Percentage price oscillator: 100 * (ema_<fast> - ema_<slow>) / ema_<slow> (TA-Lib PPO with EMAs)."""
    _ordered(fast, slow)
    return 100 * (pl.col(f"ema_{fast}") - pl.col(f"ema_{slow}")) / pl.col(f"ema_{slow}")
