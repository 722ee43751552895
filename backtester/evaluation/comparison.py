"""Several results over one window beside each other: correlation, paired differences, costs, when each earned.

Belongs here: from pooled results to frames that a page draws. Does not belong here: one result taken apart
(`backtester.evaluation.breakdown`), drawing (`backtester.compare_page`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np
import polars as pl

from backtester.evaluation.book_breakdown import FixedCapital
from backtester.evaluation.breakdown import hour_ends, quarter_parts
from backtester.evaluation.pooling import PooledResult
from backtester.statistics.bootstrap import circular_means, interval
from features.array_types import BoolArray, FloatArray, IntArray
from features.bars import HOUR_US, TS

BLOCK_HOURS: Final = 24
"""Length of the blocks that the bootstrap draws."""
DRAWS: Final = 2_000
CONFIDENCE: Final = 0.95
_DAY_HOURS: Final = 24
_MANY: Final = 2
"""Quarters from which results are told by quarter, not by month."""

HourlyResult: TypeAlias = PooledResult | FixedCapital
"""A strategy's result, or a book's."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results over one window beside each other.

    Attributes
    ----------
    bar_hours : int
        Hours over which returns are added up before they are correlated.
    correlations : ndarray of shape (n_results, n_results)
        Of these returns in the hours in which all have bars; NaN for one that never moves.
    differences : DataFrame
        A row for each pair: `one`, `two`, `day_pct` (mean of the first less the second, percent of the capital a day),
        `low`, `high` (its 95 % interval by a bootstrap of days), `apart` (whether zero is outside).
    costs : DataFrame
        A row for each result: `name`, `before_pct` (without fees, slippage and funding), `fees_pct`, `slippage_pct`,
        `funding_pct`, `total_pnl_pct`, `turnover`, `exposure`, `trades`.
    periods : DataFrame
        `period` (quarters; months in a window within one quarter), and a column for each result: its sum of PnL in it,
        percent of the capital.
    """

    bar_hours: int
    correlations: FloatArray
    differences: pl.DataFrame
    costs: pl.DataFrame
    periods: pl.DataFrame


def compare(results: Mapping[str, HourlyResult], *, seed: int, bar_hours: int = 1) -> Comparison:
    """Compare results over one window.

    Parameters
    ----------
    results : dict of str to HourlyResult
        By name, two or more.
    seed : int
        Of the bootstrap.
    bar_hours : int
        Hours of the longest bars that any of them trades on: what such a bar earned stands in its last hour, where it
        would correlate with nothing.

    Returns
    -------
    Comparison
        Deterministic for a seed.

    Raises
    ------
    ValueError
        If there are fewer than two, their windows differ, or the window holds fewer than two days of bars.
    """
    names, pooled = list(results), list(results.values())
    if len(pooled) < 2:  # noqa: PLR2004 - a comparison is of two
        msg = f"{', '.join(names) or 'nothing'}: a comparison takes two results or more"
        raise ValueError(msg)
    first = pooled[0]
    for name, each in results.items():
        if (each.start, each.end) != (first.start, first.end):
            msg = (
                f"{names[0]} ran from {first.start} to {first.end}, {name} from {each.start} to {each.end}; "
                "compare results over one window"
            )
            raise ValueError(msg)
    there: BoolArray = np.all([each.present for each in pooled], axis=0)
    returns = np.array([each.returns for each in pooled])
    if int(there.sum()) < 2 * BLOCK_HOURS:
        msg = f"{int(there.sum())} hours with bars of all are fewer than two days; give a longer window"
        raise ValueError(msg)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations: FloatArray = np.atleast_1d(
            np.corrcoef(_added_up(returns, there, hour_ends(first) - HOUR_US, bar_hours))
        )
    return Comparison(
        bar_hours, correlations, _differences(names, returns[:, there], seed), _costs(results), _periods(results)
    )


def _added_up(returns: FloatArray, there: BoolArray, begun: IntArray, bar_hours: int) -> FloatArray:
    """Return the returns of bars of so many hours since 1970, without hours in which one has no bar."""
    bars = begun[there] // (bar_hours * HOUR_US)
    added: FloatArray = np.add.reduceat(returns[:, there], np.flatnonzero(np.diff(bars, prepend=-1)), axis=1)
    return added


def _differences(names: list[str], returns: FloatArray, seed: int) -> pl.DataFrame:
    rows = []
    for one, two in combinations(range(len(names)), 2):
        difference = returns[one] - returns[two]
        rng = np.random.default_rng(seed)  # the same days in every pair
        off, _ = circular_means(difference, BLOCK_HOURS, draws=DRAWS, rng=rng)
        scale = 100.0 * _DAY_HOURS
        mean = float(difference.mean())
        low, high = interval(scale * (mean + off), CONFIDENCE)
        rows.append(
            {
                "one": names[one],
                "two": names[two],
                "day_pct": scale * mean,
                "low": low,
                "high": high,
                "apart": low > 0.0 or high < 0.0,
            }
        )
    return pl.DataFrame(rows)


def _costs(results: Mapping[str, HourlyResult]) -> pl.DataFrame:
    rows = []
    for name, each in results.items():
        paid = each.fees_pct + each.slippage_pct + each.funding_pct
        told = ("fees_pct", "slippage_pct", "funding_pct", "total_pnl_pct", "turnover", "exposure", "trades")
        metrics = {metric: getattr(each, metric) for metric in told}
        rows.append({"name": name, "before_pct": each.total_pnl_pct + paid, **metrics})
    return pl.DataFrame(rows)


def _periods(results: Mapping[str, HourlyResult]) -> pl.DataFrame:
    begun = hour_ends(next(iter(results.values()))) - HOUR_US
    parts = quarter_parts(begun)
    if len(parts) < _MANY:
        parts = _month_parts(begun)
    columns = {
        name: [100.0 * float(each.returns[inside].sum()) for inside in parts.values()] for name, each in results.items()
    }
    return pl.DataFrame({"period": list(parts), **columns})


def _month_parts(times: IntArray) -> dict[str, BoolArray]:
    names = pl.Series(times).cast(TS).dt.strftime("%Y-%m").to_numpy()
    return {str(name): names == name for name in dict.fromkeys(names)}
