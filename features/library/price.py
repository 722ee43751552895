"""Price: the bar's own prices, returns, the shape and the place of a bar.

Belongs here: what one bar or the change between bars says. Does not belong here: averages (`trend`), spread over many
bars (`volatility`).
"""

import polars as pl

from features import kernels
from features.definition import Kernel, feature

OPEN, HIGH, LOW, CLOSE = (pl.col(name) for name in ("open", "high", "low", "close"))
EMPTY_BAR = "the bar's high equals its low"


@feature("open", group="price", unit="quote", warmup=0, bounds=(0, None))
def open_price() -> pl.Expr:
    """Price at the bar's opening."""
    return OPEN


@feature("high", group="price", unit="quote", warmup=0, bounds=(0, None))
def high_price() -> pl.Expr:
    """Highest price of the bar."""
    return HIGH


@feature("low", group="price", unit="quote", warmup=0, bounds=(0, None))
def low_price() -> pl.Expr:
    """Lowest price of the bar."""
    return LOW


@feature("close", group="price", unit="quote", warmup=0, bounds=(0, None))
def close_price() -> pl.Expr:
    """Price at the bar's close."""
    return CLOSE


@feature("hl2", group="price", unit="quote", warmup=0, bounds=(0, None))
def hl2() -> pl.Expr:
    """Median price: (high + low) / 2."""
    return (HIGH + LOW) / 2


@feature("hlc3", group="price", unit="quote", warmup=0, bounds=(0, None))
def hlc3() -> pl.Expr:
    """Typical price: (high + low + close) / 3."""
    return (HIGH + LOW + CLOSE) / 3


@feature("ohlc4", group="price", unit="quote", warmup=0, bounds=(0, None))
def ohlc4() -> pl.Expr:
    """Mean of the four prices: (open + high + low + close) / 4."""
    return (OPEN + HIGH + LOW + CLOSE) / 4


@feature("returns", group="price", unit="ratio", warmup=1, bounds=(-1, None))
def returns() -> pl.Expr:
    """Return of one bar: close / previous close - 1."""
    return CLOSE / CLOSE.shift(1) - 1


@feature(
    "returns_<n>",
    group="price",
    unit="ratio",
    warmup=lambda n: n,
    bounds=(-1, None),
    standard=("returns_5", "returns_20"),
    minimum=1,
)
def returns_over(n: int) -> pl.Expr:
    """Return of n bars: close / close n bars ago - 1."""
    return CLOSE / CLOSE.shift(n) - 1


@feature("log_returns", group="price", unit="ratio", warmup=1)
def log_returns() -> pl.Expr:
    """Log return of one bar: ln(close / previous close)."""
    return (CLOSE / CLOSE.shift(1)).log()


@feature("log_returns_<n>", group="price", unit="ratio", warmup=lambda n: n, minimum=1)
def log_returns_over(n: int) -> pl.Expr:
    """Log return of n bars: ln(close / close n bars ago)."""
    return (CLOSE / CLOSE.shift(n)).log()


@feature("bar_range", group="price", unit="ratio", warmup=0, bounds=(0, None))
def bar_range() -> pl.Expr:
    """Size of the bar: (high - low) / close."""
    return (HIGH - LOW) / CLOSE


@feature("bar_body", group="price", unit="ratio", warmup=0, bounds=(-1, 1), nulls=EMPTY_BAR)
def bar_body() -> pl.Expr:
    """Signed body as a share of the bar: (close - open) / (high - low); also called balance of power (TA-Lib BOP)."""
    return (CLOSE - OPEN) / (HIGH - LOW)


@feature("upper_wick", group="price", unit="ratio", warmup=0, bounds=(0, 1), nulls=EMPTY_BAR)
def upper_wick() -> pl.Expr:
    """Upper shadow as a share of the bar: (high - max(open, close)) / (high - low)."""
    return (HIGH - pl.max_horizontal(OPEN, CLOSE)) / (HIGH - LOW)


@feature("lower_wick", group="price", unit="ratio", warmup=0, bounds=(0, 1), nulls=EMPTY_BAR)
def lower_wick() -> pl.Expr:
    """Lower shadow as a share of the bar: (min(open, close) - low) / (high - low)."""
    return (pl.min_horizontal(OPEN, CLOSE) - LOW) / (HIGH - LOW)


@feature("close_location", group="price", unit="ratio", warmup=0, bounds=(0, 1), nulls=EMPTY_BAR)
def close_location() -> pl.Expr:
    """Place of the close in the bar: (close - low) / (high - low)."""
    return (CLOSE - LOW) / (HIGH - LOW)


@feature("opening_gap", group="price", unit="ratio", warmup=1, bounds=(-1, None))
def opening_gap() -> pl.Expr:
    """Jump between bars: open / previous close - 1."""
    return OPEN / CLOSE.shift(1) - 1


@feature("highest_<n>", group="price", unit="quote", warmup=lambda n: n - 1, bounds=(0, None), minimum=1)
def highest(n: int) -> Kernel:
    """Highest high of n bars (TA-Lib MAX of the highs)."""
    return Kernel(kernels.moving_maximum, ("high",), (n,))


@feature("lowest_<n>", group="price", unit="quote", warmup=lambda n: n - 1, bounds=(0, None), minimum=1)
def lowest(n: int) -> Kernel:
    """Lowest low of n bars (TA-Lib MIN of the lows)."""
    return Kernel(kernels.moving_minimum, ("low",), (n,))


@feature(
    "distance_to_high_<n>",
    group="price",
    unit="ratio",
    warmup=lambda n: n - 1,
    bounds=(-1, 0),
    standard=("distance_to_high_20",),
)
def distance_to_high(n: int) -> pl.Expr:
    """Close below the highest high of n bars: close / highest_<n> - 1."""
    return CLOSE / pl.col(f"highest_{n}") - 1


@feature(
    "distance_to_low_<n>",
    group="price",
    unit="ratio",
    warmup=lambda n: n - 1,
    bounds=(0, None),
    standard=("distance_to_low_20",),
)
def distance_to_low(n: int) -> pl.Expr:
    """Close above the lowest low of n bars: close / lowest_<n> - 1."""
    return CLOSE / pl.col(f"lowest_{n}") - 1
