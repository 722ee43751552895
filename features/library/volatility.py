"""Volatility: how far prices spread, by ranges, deviations and bands.

Belongs here: measures of spread and the bands built on them. Does not belong here: verdicts such as a volatility
regime (`regime`). Nothing is annualised: volatilities are those of one bar.
"""

import math

import polars as pl

from features import kernels
from features.definition import Kernel, ema_warmup, feature, rolling, wilder_warmup

OPEN, HIGH, LOW, CLOSE = (pl.col(name) for name in ("open", "high", "low", "close"))
BANDS = 2.0
KELTNER_RANGE = 10


@feature("true_range", group="volatility", unit="quote", warmup=1, bounds=(0, None))
def true_range() -> Kernel:
    """Range of the bar with the previous close in it (Wilder 1978; TA-Lib TRANGE)."""
    return Kernel(kernels.true_range, ("high", "low", "close"))


@feature(
    "atr_<n>",
    group="volatility",
    unit="quote",
    warmup=wilder_warmup,
    window=lambda n: n + 1,
    bounds=(0, None),
    default=(14,),
    standard=("atr_7", "atr_14"),
)
def atr(n: int) -> Kernel:
    """Average true range, Wilder's smoothing over n bars (Wilder 1978; TA-Lib ATR)."""
    return Kernel(kernels.average_true_range, ("high", "low", "close"), (n,))


@feature(
    "natr_<n>",
    group="volatility",
    unit="percent",
    warmup=wilder_warmup,
    window=lambda n: n + 1,
    bounds=(0, None),
    default=(14,),
    standard=("natr_14",),
)
def natr(n: int) -> pl.Expr:
    """Average true range in percent of the close (TA-Lib NATR)."""
    return 100 * pl.col(f"atr_{n}") / CLOSE


@feature(
    "std_dev_<n>",
    group="volatility",
    unit="quote",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    default=(20,),
    standard=("std_dev_20", "std_dev_50"),
)
def std_dev(n: int) -> Kernel:
    """Spread of n closes: standard deviation of the population (TA-Lib STDDEV)."""
    return Kernel(kernels.moving_deviation, ("close",), (n,))


@feature(
    "bbands_upper_<n>",
    group="volatility",
    unit="quote",
    warmup=lambda n: n - 1,
    default=(20,),
    standard=("bbands_upper",),
)
def bbands_upper(n: int) -> Kernel:
    """Upper Bollinger band: sma_<n> + 2 std_dev_<n> (TA-Lib BBANDS)."""
    return Kernel(kernels.combination, (f"sma_{n}", f"std_dev_{n}"), (BANDS,))


@feature(
    "bbands_lower_<n>",
    group="volatility",
    unit="quote",
    warmup=lambda n: n - 1,
    default=(20,),
    standard=("bbands_lower",),
)
def bbands_lower(n: int) -> Kernel:
    """Lower Bollinger band: sma_<n> - 2 std_dev_<n> (TA-Lib BBANDS)."""
    return Kernel(kernels.combination, (f"sma_{n}", f"std_dev_{n}"), (-BANDS,))


@feature(
    "bbands_width_<n>",
    group="volatility",
    unit="ratio",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    default=(20,),
    standard=("bbands_width",),
)
def bbands_width(n: int) -> pl.Expr:
    """Width of the Bollinger bands: (upper - lower) / middle."""
    return 2 * BANDS * pl.col(f"std_dev_{n}") / pl.col(f"sma_{n}")


@feature(
    "bbands_percent_<n>",
    group="volatility",
    unit="ratio",
    warmup=lambda n: n - 1,
    nulls="all closes in the window are equal",
    default=(20,),
    standard=("bbands_percent",),
)
def bbands_percent(n: int) -> pl.Expr:
    """Place of the close in the Bollinger bands, 0 at the lower and 1 at the upper (%b)."""
    return 0.5 + (CLOSE - pl.col(f"sma_{n}")) / (2 * BANDS * pl.col(f"std_dev_{n}"))


@feature(
    "keltner_upper_<n>",
    group="volatility",
    unit="quote",
    warmup=lambda n: max(ema_warmup(n), wilder_warmup(KELTNER_RANGE)),
    window=lambda n: max(n, KELTNER_RANGE + 1),
    default=(20,),
    standard=("keltner_upper",),
)
def keltner_upper(n: int) -> pl.Expr:
    """Upper Keltner channel: ema_<n> + 2 atr_10 (the modern form, after Raschke)."""
    return pl.col(f"ema_{n}") + BANDS * pl.col(f"atr_{KELTNER_RANGE}")


@feature(
    "keltner_lower_<n>",
    group="volatility",
    unit="quote",
    warmup=lambda n: max(ema_warmup(n), wilder_warmup(KELTNER_RANGE)),
    window=lambda n: max(n, KELTNER_RANGE + 1),
    default=(20,),
    standard=("keltner_lower",),
)
def keltner_lower(n: int) -> pl.Expr:
    """Lower Keltner channel: ema_<n> - 2 atr_10 (the modern form, after Raschke)."""
    return pl.col(f"ema_{n}") - BANDS * pl.col(f"atr_{KELTNER_RANGE}")


@feature(
    "keltner_width_<n>",
    group="volatility",
    unit="ratio",
    warmup=lambda n: max(ema_warmup(n), wilder_warmup(KELTNER_RANGE)),
    window=lambda n: max(n, KELTNER_RANGE + 1),
    bounds=(0, None),
    default=(20,),
    standard=("keltner_width",),
)
def keltner_width(n: int) -> pl.Expr:
    """Width of the Keltner channel: (upper - lower) / middle."""
    return 2 * BANDS * pl.col(f"atr_{KELTNER_RANGE}") / pl.col(f"ema_{n}")


@feature(
    "donchian_width_<n>",
    group="volatility",
    unit="ratio",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    default=(20,),
    standard=("donchian_width",),
)
def donchian_width(n: int) -> pl.Expr:
    """Range of n bars relative to the close: (highest_<n> - lowest_<n>) / close."""
    return (pl.col(f"highest_{n}") - pl.col(f"lowest_{n}")) / CLOSE


@feature(
    "realized_volatility_<n>",
    group="volatility",
    unit="ratio per bar",
    warmup=lambda n: n,
    bounds=(0, None),
    default=(20,),
    standard=("realized_volatility_20", "realized_volatility_60"),
)
def realized_volatility(n: int) -> Kernel:
    """Spread of n log returns: standard deviation of the population."""
    return Kernel(kernels.moving_deviation, ("log_returns",), (n,))


@feature(
    "parkinson_volatility_<n>",
    group="volatility",
    unit="ratio per bar",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    default=(20,),
    standard=("parkinson_volatility_20",),
)
def parkinson_volatility(n: int) -> pl.Expr:
    """Volatility from highs and lows: sqrt(mean(ln(high / low)^2) / (4 ln 2)) (Parkinson 1980)."""
    squared = (HIGH / LOW).log() ** 2 / (4 * math.log(2))
    return rolling(kernels.moving_average, squared, by=(n,)).clip(0).sqrt()


@feature(
    "garman_klass_volatility_<n>",
    group="volatility",
    unit="ratio per bar",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    default=(20,),
    standard=("garman_klass_volatility_20",),
)
def garman_klass_volatility(n: int) -> pl.Expr:
    """Volatility from all four prices: sqrt(mean(ln(h/l)^2 / 2 - (2 ln 2 - 1) ln(c/o)^2)) (Garman, Klass 1980)."""
    squared = (HIGH / LOW).log() ** 2 / 2 - (2 * math.log(2) - 1) * (CLOSE / OPEN).log() ** 2
    return rolling(kernels.moving_average, squared, by=(n,)).clip(0).sqrt()


@feature(
    "rogers_satchell_volatility_<n>",
    group="volatility",
    unit="ratio per bar",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    default=(20,),
    standard=("rogers_satchell_volatility_20",),
)
def rogers_satchell_volatility(n: int) -> pl.Expr:
    """Volatility without drift: sqrt(mean(ln(h/c) ln(h/o) + ln(l/c) ln(l/o))) (Rogers, Satchell 1991)."""
    squared = (HIGH / CLOSE).log() * (HIGH / OPEN).log() + (LOW / CLOSE).log() * (LOW / OPEN).log()
    return rolling(kernels.moving_average, squared, by=(n,)).clip(0).sqrt()


@feature(
    "volatility_ratio_<fast>_<slow>",
    group="volatility",
    unit="ratio",
    warmup=max,
    bounds=(0, None),
    nulls="all returns in the slow window are equal",
    default=(10, 60),
    standard=("volatility_ratio_10_60",),
)
def volatility_ratio(fast: int, slow: int) -> pl.Expr:
    """Recent against usual volatility: realized_volatility_<fast> / realized_volatility_<slow>."""
    return pl.col(f"realized_volatility_{fast}") / pl.col(f"realized_volatility_{slow}")


@feature(
    "volatility_rank_<n>",
    group="volatility",
    unit="ratio",
    warmup=lambda n: n - 1 + wilder_warmup(14),
    window=lambda n: n + 14,
    bounds=(0, 1),
    default=(100,),
    standard=("volatility_rank_100",),
)
def volatility_rank(n: int) -> Kernel:
    """Share of the last n - 1 values of natr_14 that lie below the present one."""
    return Kernel(kernels.moving_rank, ("natr_14",), (n,))


@feature(
    "percentile_range_<n>",
    group="volatility",
    unit="ratio",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    default=(20,),
    standard=("percentile_range_20",),
)
def percentile_range(n: int) -> pl.Expr:
    """Distance between the 90th and the 10th percentile of n closes (linear interpolation), relative to the close."""
    high, low = (CLOSE.rolling_quantile(share, interpolation="linear", window_size=n) for share in (0.9, 0.1))
    return (high - low) / CLOSE
