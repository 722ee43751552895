"""Positioning: how much is held, and by how many more on which side.

Belongs here: features of open interest and of ratios of longs to shorts. Does not belong here: funding (`regime`),
volume (`volume`). Null wherever the values are unknown, as they are without a source that has them.
"""

import polars as pl

from features.definition import feature

UNKNOWN = "it is unknown, or the last known value is older than 2 hours"
IN_WINDOW = "it is unknown in the window, or was older than 2 hours"
INTEREST = pl.col("positioning_open_interest")


@feature(
    "open_interest_change_<n>",
    group="positioning",
    unit="percent",
    warmup=lambda n: n,
    bounds=(-100, None),
    nulls=f"{IN_WINDOW}, or was 0",
    minimum=1,
)
def open_interest_change(n: int) -> pl.Expr:
    """Change of the open interest, in base units, over n bars."""
    return 100 * (INTEREST / INTEREST.shift(n) - 1)


@feature(
    "open_interest_zscore_<n>",
    group="positioning",
    unit="standard deviations",
    warmup=lambda n: n - 1,
    nulls=f"{IN_WINDOW}, or was constant",
)
def open_interest_zscore(n: int) -> pl.Expr:
    """Open interest less its mean over n bars, in standard deviations of these bars."""
    apart = INTEREST - INTEREST.rolling_mean(n)
    constant = INTEREST.rolling_max(n) == INTEREST.rolling_min(n)
    return pl.when(~constant).then(apart / INTEREST.rolling_std(n))


def _imbalance(name: str) -> pl.Expr:
    """Return longs less shorts over both, from longs over shorts."""
    ratio = pl.col(f"positioning_{name}_ratio")
    return (ratio - 1) / (ratio + 1)


@feature(
    "accounts_imbalance", group="positioning", unit="-1 to 1", warmup=0, bounds=(-1, 1), nulls=UNKNOWN, standard=()
)
def accounts_imbalance() -> pl.Expr:
    """Accounts that are long less those that are short, over both."""
    return _imbalance("accounts")


@feature(
    "top_accounts_imbalance", group="positioning", unit="-1 to 1", warmup=0, bounds=(-1, 1), nulls=UNKNOWN, standard=()
)
def top_accounts_imbalance() -> pl.Expr:
    """Accounts of the largest traders that are long less those that are short, over both."""
    return _imbalance("top_accounts")


@feature(
    "top_positions_imbalance", group="positioning", unit="-1 to 1", warmup=0, bounds=(-1, 1), nulls=UNKNOWN, standard=()
)
def top_positions_imbalance() -> pl.Expr:
    """Positions of the largest traders that are long less those that are short, over both."""
    return _imbalance("top_positions")


@feature("taker_imbalance", group="positioning", unit="-1 to 1", warmup=0, bounds=(-1, 1), nulls=UNKNOWN, standard=())
def taker_imbalance() -> pl.Expr:
    """Volume that takers bought less what they sold, over both, as last reported by the source."""
    return _imbalance("taker")
