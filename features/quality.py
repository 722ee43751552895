"""Data quality of computed features: values that are not finite, out of bounds, or null too often.

Belongs here: judgements about a frame of features. Does not belong here: computing features (`engine`), look-ahead
tests (`causality`), what a violation stops (the asset checks).
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from features.registry import Registry, standard_registry

SLACK: Final = 1e-9
"""Rounding that a bound forgives, relative to the bound (absolute at 0)."""

QUALITY_SCHEMA: Final = pl.Schema(
    {
        "name": pl.String(),
        "rows": pl.Int64(),
        "nulls": pl.Float64(),
        "not_finite": pl.Int64(),
        "outside": pl.Int64(),
        "lowest": pl.Float64(),
        "highest": pl.Float64(),
    }
)
"""One row a feature: share of nulls in [0, 1], counts of values that are infinite or NaN, and beyond the bounds."""


def quality(frame: pl.DataFrame, names: Sequence[str], registry: Registry | None = None) -> pl.DataFrame:
    """Summarise the values of each feature.

    Parameters
    ----------
    frame : DataFrame
        A column for each name, numeric or Boolean.
    names : sequence of str
        Features.
    registry : Registry, optional
        Where their bounds are stated.

    Returns
    -------
    DataFrame
        `QUALITY_SCHEMA`, in the order of the names.

    Examples
    --------
    >>> frame = pl.DataFrame({"rsi_14": [50.0, 120.0, None, 10.0]})
    >>> quality(frame, ["rsi_14"]).select("nulls", "outside").row(0)
    (0.25, 1)
    """
    known = registry or standard_registry()
    rows = [_seen(frame[name].cast(pl.Float64), name, known.feature(name).definition.bounds) for name in names]
    return pl.DataFrame(rows, schema=QUALITY_SCHEMA, orient="row")


def merged(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the `quality` of several frames of the same features together, from the quality of each.

    Examples
    --------
    >>> parts = [quality(pl.DataFrame({"rsi_14": values}), ["rsi_14"]) for values in ([50.0, 120.0], [None, 10.0])]
    >>> merged(parts).select("rows", "nulls", "outside", "highest").row(0)
    (4, 0.25, 1, 120.0)
    """
    rows, nulls = pl.col("rows"), pl.col("rows") * pl.col("nulls")
    together = pl.concat(parts).group_by("name", maintain_order=True)
    return together.agg(
        rows.sum(),
        pl.when(rows.sum() > 0).then(nulls.sum() / rows.sum()).otherwise(0.0).alias("nulls"),
        pl.col("not_finite", "outside").sum(),
        pl.col("lowest").min(),
        pl.col("highest").max(),
    ).cast(QUALITY_SCHEMA)


def violations(seen: pl.DataFrame, most_nulls: float) -> pl.DataFrame:
    """Return the rows of `quality` that violate a rule: not finite, out of bounds, or more nulls than allowed.

    Examples
    --------
    >>> seen = quality(pl.DataFrame({"rsi_14": [50.0, 120.0], "hour_of_day": [1.0, 2.0]}), ["rsi_14", "hour_of_day"])
    >>> violations(seen, most_nulls=0.5)["name"].to_list()
    ['rsi_14']
    """
    return seen.filter((pl.col("not_finite") > 0) | (pl.col("outside") > 0) | (pl.col("nulls") > most_nulls))


def _seen(
    values: pl.Series, name: str, bounds: tuple[float | None, float | None]
) -> tuple[str, int, float, int, int, float | None, float | None]:
    low, high = bounds
    finite = values.filter(values.is_finite().fill_null(value=False))
    below = (finite < low - SLACK * max(1.0, abs(low))).sum() if low is not None else 0
    above = (finite > high + SLACK * max(1.0, abs(high))).sum() if high is not None else 0
    rows, nulls = len(values), values.null_count()
    return (
        name,
        rows,
        nulls / rows if rows else 0.0,
        rows - nulls - len(finite),
        int(below) + int(above),
        float(finite.min()) if len(finite) else None,  # type: ignore[arg-type]  # not empty
        float(finite.max()) if len(finite) else None,  # type: ignore[arg-type]  # not empty
    )
