"""Metrics of one return series or equity curve, with definition, unit and edge cases.

Belongs here: metrics of one return series and of one list of trades. Does not belong here: which metrics are stored and
shown (`backtester.evaluation.standard_metrics`, where a new one is added), pooling lanes into a score
(`backtester.evaluation.pooling`), statistics of multiple trials (`backtester.statistics.overfitting`).

Sharpe ratios are of bar returns, never of trades, and annualised by the square root of the bars in 365 days, since this
market never closes. The Sharpe ratio of a series without variance is null, not zero.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from features.array_types import FloatArray
from features.bars import HOUR_US, Timeframe, bar_length

YEAR: Final = timedelta(days=365)
HOURS_PER_YEAR: Final = 8760.0
_LEAST: Final = 2
_FLAT: Final = 1e-14
"""Standard deviations of returns below this are rounding error, ..."""
_RESOLVED: Final = 1e-6
"""... as are variances below this share of the squared mean: sums of powers do not hold more digits than that."""


@cache
def bars_per_year(timeframe: Timeframe) -> float:
    """Return the number of bars in 365 days."""
    return YEAR / bar_length(timeframe)


def varies(mean: ArrayLike, variance: ArrayLike) -> NDArray[np.bool_]:
    """Return whether returns vary by more than rounding error, given their mean and variance.

    Arguments and result have one shape, or none for numbers.

    A ratio of mean to deviation of more than 1,000 in a single period counts as no variance. Series of returns and sums
    of powers share this rule, so that both give the same result.

    Examples
    --------
    >>> varies(0.001, 1e-6), varies(0.001, 1e-20)
    (np.True_, np.False_)
    """
    return np.asarray(variance) > np.maximum(_FLAT**2, _RESOLVED * np.square(mean))


@dataclass(frozen=True)
class Moments:
    """First four moments of a return series.

    Parameters
    ----------
    count : int
        Number of returns.
    mean, deviation : float
        Mean and standard deviation (n - 1) of a return.
    skew, kurtosis : float
        Third and fourth standardised moments (population); 0 and 3 for a normal, and where there is no variance.
    downside : float
        Root of the mean squared negative return, over all returns.
    """

    count: int
    mean: float
    deviation: float
    skew: float
    kurtosis: float
    downside: float

    @classmethod
    def from_sums(cls, count: int, powers: tuple[float, float, float, float], down2: float) -> Self:
        """Return the moments of returns from the sums of their powers.

        Parameters
        ----------
        count : int
            Number of returns.
        powers : tuple of four float
            Sums of the first to fourth powers of the returns.
        down2 : float
            Sum of the squared negative returns.

        Returns
        -------
        Moments
            As `of` gives for the returns themselves, up to rounding.
        """
        if count < 1:
            return cls(0, 0.0, 0.0, 0.0, 3.0, 0.0)
        r1, r2, r3, r4 = powers
        mean = r1 / count
        second = max(r2 / count - mean * mean, 0.0)
        downside = math.sqrt(down2 / count)
        if count < _LEAST or not varies(mean, second):
            return cls(count, mean, 0.0, 0.0, 3.0, downside)
        deviation = math.sqrt(second * count / (count - 1))
        third = r3 / count - 3.0 * mean * r2 / count + 2.0 * mean**3
        fourth = r4 / count - 4.0 * mean * r3 / count + 6.0 * mean * mean * r2 / count - 3.0 * mean**4
        return cls(count, mean, deviation, third / second**1.5, fourth / second**2, downside)

    @classmethod
    def of(cls, returns: FloatArray) -> Self:
        """Return the moments of returns of shape (n_returns,)."""
        if len(returns) < 1:
            return cls(0, 0.0, 0.0, 0.0, 3.0, 0.0)
        mean = float(returns.mean())
        centred = returns - mean
        squares = centred * centred  # products, since powers of arrays above the second take ten times as long
        second = float(squares.mean())
        downside = math.sqrt(float((np.minimum(returns, 0.0) ** 2).mean()))
        if len(returns) < _LEAST or not varies(mean, second):
            return cls(len(returns), mean, 0.0, 0.0, 3.0, downside)
        deviation = math.sqrt(second * len(returns) / (len(returns) - 1))
        skew = float((squares * centred).mean()) / second**1.5
        kurtosis = float((squares * squares).mean()) / second**2
        return cls(len(returns), mean, deviation, skew, kurtosis, downside)

    @property
    def sharpe(self) -> float | None:
        """Mean over standard deviation of one period, not annualised; null without variance."""
        return self.mean / self.deviation if self.deviation > 0.0 else None

    def annual_sharpe(self, periods_per_year: float) -> float | None:
        """Return the Sharpe ratio of a year; null without variance."""
        ratio = self.sharpe
        return None if ratio is None else ratio * math.sqrt(periods_per_year)

    def annual_sharpe_se(self, periods_per_year: float) -> float | None:
        """Return the standard error of `annual_sharpe` for independent returns with this skew and kurtosis.

        `sqrt((1 - skew * s + (kurtosis - 1) / 4 * s ** 2) / (n - 1))` for the ratio `s` of one period (Mertens 2002;
        Bailey & López de Prado 2012). Null without variance or with fewer than two returns.
        """
        ratio = self.sharpe
        if ratio is None:
            return None
        return sharpe_se(ratio, self.count, self.skew, self.kurtosis) * math.sqrt(periods_per_year)

    def annual_sortino(self, periods_per_year: float) -> float | None:
        """Return mean over downside deviation, annualised; null where no return is negative."""
        return self.mean / self.downside * math.sqrt(periods_per_year) if self.downside > _FLAT else None


def sharpe_se(sharpe: float, count: int, skew: float, kurtosis: float) -> float:
    """Return the standard error of a Sharpe ratio of independent returns.

    Parameters
    ----------
    sharpe : float
        Sharpe ratio of one period.
    count : int
        Number of returns, 2 or more.
    skew, kurtosis : float
        Of the returns; the kurtosis of a normal is 3.

    Returns
    -------
    float
        `sqrt((1 - skew * s + (kurtosis - 1) / 4 * s ** 2) / (n - 1))`.

    References
    ----------
    Mertens (2002), "Comments on Variance of the IID Estimator in Lo".

    Examples
    --------
    >>> sharpe_se(0.0, 101, skew=0.0, kurtosis=3.0)
    0.1
    """
    variance = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    return math.sqrt(max(variance, 0.0) / (count - 1))


def hourly_returns(curve: FloatArray, start: int) -> FloatArray:
    """Return the hourly returns of a curve of capital and PnL, not compounded.

    A return is the hour's PnL over the starting capital, whatever the curve had won or lost by then.

    Parameters
    ----------
    curve : ndarray of shape (n_hours,)
        Starting capital (1) plus the sum of all PnL, at the full hours of a window.
    start : int
        Start of the window, microseconds since 1970. If it lies inside an hour, the first return is of the rest of it.

    Returns
    -------
    ndarray of shape (n_hours - 1,) or (n_hours,)
        The longer where the window starts inside an hour.

    Examples
    --------
    >>> hourly_returns(np.array([1.0, 1.5, 1.25]), start=0).tolist()
    [0.5, -0.25]
    """
    whole = curve if start % HOUR_US == 0 else np.concatenate([[1.0], curve])
    returns: FloatArray = np.diff(whole)
    return returns


def alpha_and_beta(
    market: FloatArray, returns: FloatArray, year: float
) -> tuple[float | None, float | None, float | None]:
    """Return alpha of a year, its standard error, and beta of returns on a market's, by least squares.

    Parameters
    ----------
    market, returns : ndarray of shape (n_returns,)
        Returns of the same periods.
    year : float
        Periods in 365 days.

    Returns
    -------
    tuple of three float or None
        Null where the market does not vary, or there are fewer than three returns.

    Examples
    --------
    >>> market = np.array([0.01, -0.01, 0.02])
    >>> [round(number, 6) for number in alpha_and_beta(market, 2 * market + 0.001, 100.0)]
    [0.1, 0.0, 2.0]
    """
    if len(market) <= _LEAST or not varies(market.mean(), market.var()):
        return None, None, None
    # written out: `scipy.stats.linregress` gives the same and takes a third of the time of all metrics of a book
    count, mean, average = len(market), float(market.mean()), float(returns.mean())
    x, y = market - mean, returns - average
    spread, shared = float(x @ x), float(x @ y)
    beta = shared / spread
    rest = max(float(y @ y) - beta * shared, 0.0) / (count - 2)
    error = math.sqrt(rest * (1.0 / count + mean * mean / spread))
    return (average - beta * mean) * year, error * year, beta


def fall(curve: FloatArray) -> float:
    """Return the largest fall of a sum of PnL below its peak, as a fraction of the starting capital (1), at most 1.

    `curve` has shape (n_points,).

    The curve begins at the starting capital; 0 for an empty one.

    Examples
    --------
    >>> fall(np.array([1.5, 1.0, 1.25]))
    0.5
    """
    if not len(curve):
        return 0.0
    return min(1.0, float(np.max(np.maximum.accumulate(np.maximum(curve, 1.0)) - curve)))


def falls(curves: FloatArray) -> FloatArray:
    """Return the `fall` of each of some curves.

    `curves` has shape (n_curves, n_points), the result (n_curves,).
    """
    peaks = np.maximum.accumulate(np.maximum(curves, 1.0), axis=1)
    depths: FloatArray = np.minimum(np.max(peaks - curves, axis=1, initial=0.0), 1.0)
    return depths


def max_drawdown(equity: FloatArray) -> float:
    """Return the largest fall from a peak as a fraction of the peak, in [0, 1]; 0 for an empty curve.

    `equity` has shape (n_points,).

    Examples
    --------
    >>> max_drawdown(np.array([1.0, 2.0, 1.0, 3.0]))
    0.5
    """
    if not len(equity):
        return 0.0
    peaks = np.maximum.accumulate(equity)
    return float(np.clip(np.max(1.0 - equity / peaks), 0.0, 1.0))
