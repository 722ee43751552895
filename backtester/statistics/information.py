"""What one series of values says about another: rank correlations across symbols and in time, with honest errors.

Belongs here: ranks, shares of quantiles, correlations and autocorrelations over dense arrays of time × symbol. Does not
belong here: which returns the values are held against (`backtester.evaluation.feature_sheet`), features (`features`).

Sources: Spearman (1904); Newey & West (1987); Grinold & Kahn, "Active Portfolio Management" (1999), the information
coefficient.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from backtester.statistics.choosing import mean_errors
from features.array_types import BoolArray, FloatArray

FEWEST_SYMBOLS: Final = 5
"""Symbols of a cross-section whose values must be known; all, where there are fewer."""
FEWEST_TIMES: Final = 30
"""Values below which a mean or a correlation in time has no error."""
_FLAT: Final = 1e-12


class Estimate(NamedTuple):
    """A mean with its standard error.

    Attributes
    ----------
    known : int
        Values behind it.
    value : float, optional
        The mean; null without values.
    error : float, optional
        By Newey and West, never below that of independent values; null with fewer than `FEWEST_TIMES` values, or where
        they do not vary.
    """

    known: int
    value: float | None
    error: float | None

    @property
    def t(self) -> float | None:
        """Value over error."""
        return None if self.value is None or not self.error else self.value / self.error


def lags_of(horizon: int, count: int) -> int:
    """Return the largest lag of the error of values that each look over `horizon` steps.

    Twice the horizon: neighbours overlap for one horizon, and Bartlett's weights up to there would count but two thirds
    of that. At least floor(4 (n / 100)^(2/9)) for `count` values.

    Examples
    --------
    >>> lags_of(24, 4000), lags_of(1, 4000)
    (48, 9)
    """
    usual = math.floor(4.0 * math.pow(max(count, 1) / 100.0, 2.0 / 9.0))
    return max(1, min(max(2 * horizon, usual), count - 1))


def estimate(series: FloatArray, horizon: int = 1) -> Estimate:
    """Return the mean of a series and its error.

    Parameters
    ----------
    series : ndarray of shape (n_times,)
        In order of time; NaN is left out, and what is around it counts as neighbours.
    horizon : int
        Steps that each value looks over.

    Returns
    -------
    Estimate
        Of the known values.
    """
    known = series[~np.isnan(series)]
    count = len(known)
    if not count:
        return Estimate(0, None, None)
    mean = float(known.mean())
    if count < FEWEST_TIMES or float(np.ptp(known)) < _FLAT:
        return Estimate(count, mean, None)
    return Estimate(count, mean, float(mean_errors(known[None, :], lags_of(horizon, count))[0]))


def joint_ranks(one: FloatArray, other: FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return the ranks along the last axis of the places where both are known.

    Parameters
    ----------
    one, other : ndarray of shape (n_rows, n)
        NaN where unknown.

    Returns
    -------
    tuple of two ndarray of shape (n_rows, n) and one of bool
        Ranks from 1, ties at their mean, 0 where either is unknown; and where both are known.
    """
    known = ~(np.isnan(one) | np.isnan(other))
    ranks = [np.where(known, stats.rankdata(np.where(known, each, np.inf), axis=-1), 0.0) for each in (one, other)]
    return ranks[0], ranks[1], known


def rank_correlations(one: FloatArray, other: FloatArray, fewest: int = FEWEST_SYMBOLS) -> FloatArray:
    """Return the Spearman correlation of each row.

    Parameters
    ----------
    one, other : ndarray of shape (n_rows, n)
        NaN where unknown.
    fewest : int
        Places of a row that must be known in both.

    Returns
    -------
    ndarray of shape (n_rows,)
        NaN where fewer are known, or either does not vary.

    Examples
    --------
    >>> rank_correlations(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 3.0, 2.0]]), fewest=3).round(6).tolist()
    [0.5]
    """
    x, y, known = joint_ranks(one, other)
    count = known.sum(axis=-1)
    middle = np.where(known, (count[..., None] + 1.0) / 2.0, 0.0)
    x, y = x - middle, y - middle
    with np.errstate(all="ignore"):
        result = (x * y).sum(axis=-1) / np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    return np.where((count >= max(fewest, 2)) & np.isfinite(result), result, np.nan)


def influence_in_time(values: FloatArray, returns: FloatArray) -> tuple[float, FloatArray] | None:
    """Return the Spearman correlation of two series in time, and what each time contributes to its error.

    It is the slope of one series of standardised ranks on the other; its error is that of a least-squares slope.

    Parameters
    ----------
    values, returns : ndarray of shape (n_times,)
        NaN where unknown.

    Returns
    -------
    tuple of float and ndarray of shape (n_times,), optional
        The error of the correlation is that of the mean of the second, which is 0 on average and NaN where either
        series is unknown. None with fewer than `FEWEST_TIMES` known times, or where a series does not vary.
    """
    x, y, known = joint_ranks(values, returns)
    if known.sum() < FEWEST_TIMES:
        return None
    x, y = (ranks[known] - ranks[known].mean() for ranks in (x, y))
    if not x.any() or not y.any():
        return None
    x, y = x / x.std(), y / y.std()
    correlation = float((x * y).mean())
    influence = np.full(len(values), np.nan)
    influence[known] = x * (y - correlation * x)
    return correlation, influence


def correlation_in_time(values: FloatArray, returns: FloatArray, horizon: int = 1) -> Estimate:
    """Return the Spearman correlation in time: of each symbol, averaged over those that have one.

    Parameters
    ----------
    values, returns : ndarray of shape (n_times, n_symbols)
        NaN where unknown.
    horizon : int
        Steps that each return looks over.

    Returns
    -------
    Estimate
        The error is of the symbols' average contribution at each time, so that what moves symbols together is in it.
        `known` counts the times at which any symbol contributes.
    """
    found = [influence_in_time(values[:, place], returns[:, place]) for place in range(values.shape[1])]
    there = [each for each in found if each is not None]
    if not there:
        return Estimate(0, None, None)
    # a symbol that is known for a part of the time weighs more there: its mean is over fewer times
    shares = np.array([np.mean(~np.isnan(influence)) for _, influence in there])
    parts = np.array([np.nan_to_num(influence) / share for (_, influence), share in zip(there, shares, strict=True)])
    known = np.any([~np.isnan(influence) for _, influence in there], axis=0)
    together = np.where(known, parts.mean(axis=0) * known.mean(), np.nan)
    of_mean = estimate(together, horizon)
    return Estimate(of_mean.known, float(np.mean([correlation for correlation, _ in there])), of_mean.error)


def quantile_shares(values: FloatArray, quantiles: int) -> FloatArray:
    """Return the share of each place that belongs to each quantile of its row.

    Sorted by value, each known place takes up an equal length; a quantile is an equal part of the whole. Places with
    equal values share what they take up.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n)
        NaN where unknown.
    quantiles : int
        How many.

    Returns
    -------
    ndarray of shape (quantiles, n_rows, n)
        From the lowest quantile up; 0 where the value is unknown. Over quantiles the shares of a known place add up to
        1, over places those of a quantile to their number over `quantiles`.

    Examples
    --------
    >>> quantile_shares(np.array([[5.0, 1.0, 3.0, 3.0]]), 2).tolist()
    [[[0.0, 1.0, 0.5, 0.5]], [[1.0, 0.0, 0.5, 0.5]]]
    """
    known = ~np.isnan(values)
    filled = np.where(known, values, np.inf)
    first = stats.rankdata(filled, method="min", axis=-1) - 1.0
    last = np.where(known, stats.rankdata(filled, method="max", axis=-1), first + 1.0)
    count = known.sum(axis=-1, keepdims=True)
    length = last - first
    shares = np.empty((quantiles, *values.shape))
    for place in range(quantiles):
        low, high = place * count / quantiles, (place + 1) * count / quantiles
        inside = np.clip(np.minimum(last, high) - np.maximum(first, low), 0.0, None)
        shares[place] = np.where(known, inside / length, 0.0)
    return shares


def autocorrelations(values: FloatArray, lags: tuple[int, ...]) -> FloatArray:
    """Return the autocorrelation of each symbol's values.

    Parameters
    ----------
    values : ndarray of shape (n_times, n_symbols)
        NaN where unknown.
    lags : tuple of int
        In steps.

    Returns
    -------
    ndarray of shape (n_lags, n_symbols)
        Pearson's correlation of the pairs that are known; NaN with fewer than `FEWEST_TIMES` pairs, or without
        variance.
    """
    found = np.full((len(lags), values.shape[1]), np.nan)
    size = np.abs(np.nan_to_num(values)).max(axis=0, initial=0.0)
    for row, lag in enumerate(lags):
        now, before = values[lag:], values[: len(values) - lag]
        known = ~(np.isnan(now) | np.isnan(before))
        count = known.sum(axis=0)
        with np.errstate(all="ignore"):
            x, y = (np.where(known, each, 0.0) for each in (now, before))
            x, y = (np.where(known, each - each.sum(axis=0) / count, 0.0) for each in (x, y))
            result = (x * y).sum(axis=0) / np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0))
        varies = np.minimum(np.abs(x).max(axis=0, initial=0.0), np.abs(y).max(axis=0, initial=0.0)) > _FLAT * size
        found[row] = np.where((count >= FEWEST_TIMES) & varies & np.isfinite(result), result, np.nan)
    return found
