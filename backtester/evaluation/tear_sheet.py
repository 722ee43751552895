"""The tear sheet that people know, of any series of hourly returns: months, the rolling ratio, the worst drawdowns.

Belongs here: frames and curves of one series of returns, a strategy's or a book's. Does not belong here: parts of a
result by quarter, session and regime (`backtester.evaluation.breakdown`), drawing (`backtester.page`).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from backtester.statistics.metrics import HOURS_PER_YEAR, varies
from features.array_types import BoolArray, FloatArray, IntArray
from features.bars import HOUR_US, TS

ROLLING: Final = timedelta(days=30)
"""Time of each rolling ratio."""
WORST: Final = 5
"""Drawdowns in the table."""
_FLAT: Final = 1e-12
"""Falls below this share of the capital are rounding."""


@dataclass(frozen=True, eq=False)
class TearSheet:
    """One series of returns by month and day, its rolling ratio and its worst drawdowns.

    Attributes
    ----------
    days : DataFrame
        `date`, `return` (fraction): each UTC day in which a return began.
    months : DataFrame
        `year`, `month`, `return_pct`: as the days, in percent.
    rolling : DataFrame
        `ts` (end of the hour), `sharpe` and `sharpe_se` (a year) of the `ROLLING` before it, once a day; no rows in a
        shorter series.
    drawdowns : DataFrame
        The `WORST` ones, the deepest first: `begin` (of the last peak), `bottom`, `recovered` (when the peak was
        reached again; null where it was not), `depth_pct`, `days` (from the peak to the recovery, or to the end).
    """

    days: pl.DataFrame
    months: pl.DataFrame
    rolling: pl.DataFrame
    drawdowns: pl.DataFrame

    def years(self, *, compounded: bool) -> list[tuple[int, list[float | None], float]]:
        """Return each year with its twelve months and its whole, in percent; None where there is no return."""
        rows = []
        for (year,), part in self.months.group_by("year", maintain_order=True):
            found = dict(part.select("month", "return_pct").iter_rows())
            whole = _joined(np.array(list(found.values())) / 100.0, compounded=compounded)
            rows.append((int(str(year)), [found.get(month) for month in range(1, 13)], 100.0 * whole))
        return rows


def tear_sheet(ends: IntArray, returns: FloatArray, there: BoolArray, *, compounded: bool) -> TearSheet:
    """Return the tear sheet of hourly returns.

    Parameters
    ----------
    ends : ndarray of shape (n_hours,), int64
        When each return ended, microseconds since 1970, ascending.
    returns : ndarray of shape (n_hours,)
        Fractions.
    there : ndarray of shape (n_hours,), bool
        Those in whose hour there were bars; the others are no returns of the ratio.
    compounded : bool
        Whether returns multiply (a book's) or add up to a capital of 1 (a strategy's unit replay). Drawdowns are of the
        peak, or of the capital.

    Returns
    -------
    TearSheet
        Deterministic.
    """
    begun = pl.Series(ends - HOUR_US).cast(TS)
    hours = pl.DataFrame({"date": begun.dt.date(), "return": returns})
    joined = ((1.0 + pl.col("return")).product() - 1.0) if compounded else pl.col("return").sum()
    days = hours.group_by("date", maintain_order=True).agg(joined.alias("return"))
    by_month = days.group_by(
        pl.col("date").dt.year().alias("year"), pl.col("date").dt.month().alias("month"), maintain_order=True
    )
    months = by_month.agg((100.0 * joined).alias("return_pct"))
    curve = np.asarray(np.cumprod(1.0 + returns) if compounded else 1.0 + np.cumsum(returns), dtype=np.float64)
    return TearSheet(days, months, _rolling(ends, returns, there), _drawdowns(ends, curve, compounded=compounded))


def _joined(returns: FloatArray, *, compounded: bool) -> float:
    return float(np.prod(1.0 + returns) - 1.0) if compounded else float(returns.sum())


def _rolling(ends: IntArray, returns: FloatArray, there: BoolArray) -> pl.DataFrame:
    hours = int(ROLLING / timedelta(hours=1))
    schema = pl.Schema({"ts": TS, "sharpe": pl.Float64(), "sharpe_se": pl.Float64()})
    if len(returns) < hours:
        return pl.DataFrame(schema=schema)
    known = np.where(there, returns, 0.0)
    windows = np.lib.stride_tricks.sliding_window_view
    every = slice((len(returns) - hours) % 24, None, 24)
    counts = windows(there.astype(np.float64), hours)[every].sum(axis=1)
    means = windows(known, hours)[every].sum(axis=1) / np.maximum(counts, 1.0)
    # of the differences from the mean, since sums of squares lose digits
    apart = np.where(windows(there, hours)[every], windows(known, hours)[every] - means[:, None], 0.0)
    variances = (apart * apart).sum(axis=1) / np.maximum(counts - 1.0, 1.0)
    good = varies(means, variances) & (counts > 1.0)
    ratio = np.where(good, means / np.sqrt(np.where(good, variances, 1.0)), np.nan)
    error = np.sqrt((1.0 + ratio * ratio / 2.0) / np.maximum(counts, 1.0))
    year = np.sqrt(HOURS_PER_YEAR)
    frame = pl.DataFrame({"ts": ends[hours - 1 :][every], "sharpe": ratio * year, "sharpe_se": error * year})
    return frame.with_columns(pl.col("ts").cast(TS), pl.col("sharpe", "sharpe_se").fill_nan(None)).cast(schema)


def _drawdowns(ends: IntArray, curve: FloatArray, *, compounded: bool) -> pl.DataFrame:
    whole = np.concatenate([[1.0], curve])
    times = np.concatenate([ends[:1] - HOUR_US, ends])
    peaks = np.maximum.accumulate(whole)
    fallen = (peaks - whole) / (peaks if compounded else 1.0)
    below = fallen > _FLAT
    edges = np.diff(np.concatenate([[False], below, [False]]).astype(np.int8))
    rows = []
    for first, after in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        begin, bottom = int(first) - 1, int(first) + int(np.argmax(fallen[first:after]))
        recovered = int(times[after]) if after < len(whole) else None
        last = int(times[-1]) if recovered is None else recovered
        rows.append(
            {
                "begin": int(times[begin]),
                "bottom": int(times[bottom]),
                "recovered": recovered,
                "depth_pct": 100.0 * float(fallen[bottom]),
                "days": (last - int(times[begin])) / (24.0 * HOUR_US),
            }
        )
    moments = dict.fromkeys(("begin", "bottom", "recovered"), pl.Int64)
    frame = pl.DataFrame(rows, schema={**moments, "depth_pct": pl.Float64, "days": pl.Float64})
    deepest = frame.sort("depth_pct", "begin", descending=[True, False]).head(WORST)
    return deepest.with_columns(pl.col(*moments).cast(TS))
