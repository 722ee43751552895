"""A feature of one's own: see ``examples/custom_feature.py``."""

import polars as pl

from features import feature


@feature("range_share_<n>", unit="ratio", warmup=lambda n: n - 1, default=(20,))
def range_share(n: int) -> pl.Expr:
    """High-low range of n bars relative to the close."""
    return (pl.col("high").rolling_max(n) - pl.col("low").rolling_min(n)) / pl.col("close")
