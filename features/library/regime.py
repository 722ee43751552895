"""Regime: the state that the market is in - trend, range, volatility, session, funding.

Belongs here: verdicts about the state of the market, from trailing data only, and what the clock and the exchange's
funding say about it. Does not belong here: the measures on which a verdict rests (`trend`, `volatility`).
"""

import math

import polars as pl

from features import kernels
from features.definition import ema_warmup, feature, rolling, wilder_warmup

HIGH, LOW, CLOSE = (pl.col(name) for name in ("high", "low", "close"))
TRENDING = 25.0  # Wilder's (1978) threshold for a market that trends
RANGING = 20.0  # and below this, for one that does not
CALM, STORMY = 0.25, 0.75
ADX_WARMUP = 2 * wilder_warmup(14)
RANK_WARMUP = 99 + wilder_warmup(14)
BOOLEAN = "true or false"


@feature("is_trending_up", group="regime", unit=BOOLEAN, warmup=ADX_WARMUP, window=28, dtype=pl.Boolean)
def is_trending_up() -> pl.Expr:
    """Upward trend: adx_14 > 25 and plus_di_14 > minus_di_14 (Wilder 1978)."""
    return (pl.col("adx_14") > TRENDING) & (pl.col("plus_di_14") > pl.col("minus_di_14"))


@feature("is_trending_down", group="regime", unit=BOOLEAN, warmup=ADX_WARMUP, window=28, dtype=pl.Boolean)
def is_trending_down() -> pl.Expr:
    """Downward trend: adx_14 > 25 and minus_di_14 > plus_di_14 (Wilder 1978)."""
    return (pl.col("adx_14") > TRENDING) & (pl.col("minus_di_14") > pl.col("plus_di_14"))


@feature("is_ranging", group="regime", unit=BOOLEAN, warmup=ADX_WARMUP, window=28, dtype=pl.Boolean)
def is_ranging() -> pl.Expr:
    """No trend either way: adx_14 < 20 (Wilder 1978)."""
    return pl.col("adx_14") < RANGING


@feature(
    "volatility_regime",
    group="regime",
    unit="0 calm, 1 normal, 2 stormy",
    warmup=RANK_WARMUP,
    window=114,
    bounds=(0, 2),
    dtype=pl.Int8,
)
def volatility_regime() -> pl.Expr:
    """Quarter of volatility_rank_100: 0 in the lowest, 2 in the highest, 1 between (trailing empirical quantiles)."""
    rank = pl.col("volatility_rank_100")
    return (rank > CALM).cast(pl.Int8) + (rank > STORMY).cast(pl.Int8)


@feature("is_high_volatility", group="regime", unit=BOOLEAN, warmup=RANK_WARMUP, window=114, dtype=pl.Boolean)
def is_high_volatility() -> pl.Expr:
    """volatility_rank_100 above three quarters."""
    return pl.col("volatility_rank_100") > STORMY


@feature("is_low_volatility", group="regime", unit=BOOLEAN, warmup=RANK_WARMUP, window=114, dtype=pl.Boolean)
def is_low_volatility() -> pl.Expr:
    """volatility_rank_100 at or below one quarter."""
    return pl.col("volatility_rank_100") <= CALM


@feature(
    "is_squeeze",
    group="regime",
    unit=BOOLEAN,
    warmup=max(ema_warmup(20), wilder_warmup(10)),
    window=20,
    dtype=pl.Boolean,
)
def is_squeeze() -> pl.Expr:
    """Bollinger bands inside the Keltner channel of 1.5 ranges, both of 20 bars (Carter 2005)."""
    middle, spread = pl.col("ema_20"), 1.5 * pl.col("atr_10")
    return (pl.col("bbands_upper_20") < middle + spread) & (pl.col("bbands_lower_20") > middle - spread)


@feature(
    "choppiness_<n>",
    group="regime",
    unit="index, 100 when choppy",
    warmup=lambda n: n,
    bounds=(0, None),
    nulls="highest equals lowest in the window",
    default=(14,),
    standard=("choppiness_14",),
)
def choppiness(n: int) -> pl.Expr:
    """Choppiness index: 100 * log(sum of n true ranges / their whole range) / log(n) (Dreiss 1993)."""
    path = rolling(kernels.moving_sum, "true_range", by=(n,))
    before = CLOSE.shift(1)
    top = rolling(kernels.moving_maximum, pl.max_horizontal(HIGH, before), by=(n,))
    bottom = rolling(kernels.moving_minimum, pl.min_horizontal(LOW, before), by=(n,))
    return (100 * (path / (top - bottom)).log() / math.log(n)).clip(0)


@feature(
    "efficiency_ratio_<n>",
    group="regime",
    unit="ratio",
    warmup=lambda n: n,
    bounds=(0, 1),
    nulls="the close did not move in the window",
    default=(20,),
    standard=("efficiency_ratio_20",),
)
def efficiency_ratio(n: int) -> pl.Expr:
    """Net move over path length of n bars, 1 in a straight line (Kaufman 1995)."""
    path = rolling(kernels.moving_sum, (CLOSE - CLOSE.shift(1)).abs(), by=(n,))
    return ((CLOSE - CLOSE.shift(n)).abs() / path).clip(0, 1)


@feature("hour_of_day", group="regime", unit="hours", warmup=0, bounds=(0, 23))
def hour_of_day() -> pl.Expr:
    """Hour (UTC) in which the bar opened."""
    return pl.col("ts").dt.hour()


@feature("minute_of_hour", group="regime", unit="minutes", warmup=0, bounds=(0, 59))
def minute_of_hour() -> pl.Expr:
    """Minute of the hour in which the bar opened."""
    return pl.col("ts").dt.minute()


@feature("day_of_week", group="regime", unit="days", warmup=0, bounds=(1, 7))
def day_of_week() -> pl.Expr:
    """Day of the week (UTC) on which the bar opened, Monday = 1."""
    return pl.col("ts").dt.weekday()


@feature("hour_sin", group="regime", unit="-1 to 1", warmup=0, bounds=(-1, 1))
def hour_sin() -> pl.Expr:
    """Sine of the time of day at the bar's opening (one turn in 24 hours)."""
    return _day_angle().sin()


@feature("hour_cos", group="regime", unit="-1 to 1", warmup=0, bounds=(-1, 1))
def hour_cos() -> pl.Expr:
    """Cosine of the time of day at the bar's opening (one turn in 24 hours)."""
    return _day_angle().cos()


@feature("is_weekend", group="regime", unit=BOOLEAN, warmup=0, dtype=pl.Boolean)
def is_weekend() -> pl.Expr:
    """Whether the bar opened on a Saturday or Sunday (UTC)."""
    return pl.col("ts").dt.weekday() >= 6  # noqa: PLR2004 - Saturday in ISO 8601


@feature(
    "funding_rate",
    group="regime",
    unit="ratio",
    warmup=0,
    nulls="nothing was paid in the last 24 hours, or funding is unknown",
)
def funding_rate() -> pl.Expr:
    """Funding rate as last paid at or before the bar's close; longs pay where it is positive."""
    return pl.col("paid_rate")


@feature(
    "hours_to_funding",
    group="regime",
    unit="hours",
    warmup=0,
    bounds=(0, 24),
    nulls="fewer than two payments are known",
)
def hours_to_funding() -> pl.Expr:
    """Hours from the bar's close to the next payment, at the usual distance of the last ones."""
    every = pl.col("paid_every").dt.total_microseconds()
    since = (pl.col("closed_at") - pl.col("paid_at")).dt.total_microseconds()
    return (every - since % every) / 3.6e9


def _day_angle() -> pl.Expr:
    minutes = pl.col("ts").dt.hour().cast(pl.Float64) * 60 + pl.col("ts").dt.minute()
    return minutes * (math.tau / 1440)
