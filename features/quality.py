"""What can be wrong with computed features: values that are not finite, out of range, or missing too often.

Belongs here: judgements about a frame of features. Does not belong here: computing features (`engine`), whether they
look ahead (`causality`), what a violation stops (the asset checks).
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
    """Return what is to be seen of each feature's values.

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
    """
    known = registry or standard_registry()
    rows = [_seen(frame[name].cast(pl.Float64), name, known.feature(name).definition.bounds) for name in names]
    return pl.DataFrame(rows, schema=QUALITY_SCHEMA, orient="row")


def violations(seen: pl.DataFrame, most_nulls: float) -> pl.DataFrame:
    """Return the rows of `quality` that break a rule: not finite, out of bounds, or more nulls than allowed."""
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
