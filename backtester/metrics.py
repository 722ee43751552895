"""What the sums of a lane or an equity curve say: every metric with its definition, unit and edge cases.

Belongs here: metrics of one return series and of one list of trades. Does not belong here: pooling lanes into a score
(`backtester.pooling`), statistics about having tried many things (`backtester.overfitting`).

Sharpe ratios are of bar returns, never of trades, annualised by the square root of the bars in 365 days: this market
never closes. A series that does not vary has no Sharpe ratio: null, not zero.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Final, Self

import numpy as np

from backtester.bars import Floats
from features.bars import Timeframe, bar_length

YEAR: Final = timedelta(days=365)
HOURS_PER_YEAR: Final = 8760.0
_FLAT: Final = 1e-14
"""Standard deviations of returns below this are rounding, not movement."""


@cache
def bars_per_year(timeframe: Timeframe) -> float:
    """Return the number of bars in 365 days."""
    return YEAR / bar_length(timeframe)


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
        """Return the moments of `count` returns from the sums of their powers (and of squared negative ones)."""
        if count < 1:
            return cls(0, 0.0, 0.0, 0.0, 3.0, 0.0)
        r1, r2, r3, r4 = powers
        mean = r1 / count
        second = max(r2 / count - mean * mean, 0.0)
        deviation = math.sqrt(second * count / (count - 1)) if count > 1 else 0.0
        downside = math.sqrt(down2 / count)
        if deviation <= _FLAT:
            return cls(count, mean, 0.0, 0.0, 3.0, downside)
        third = r3 / count - 3.0 * mean * r2 / count + 2.0 * mean**3
        fourth = r4 / count - 4.0 * mean * r3 / count + 6.0 * mean * mean * r2 / count - 3.0 * mean**4
        return cls(count, mean, deviation, third / second**1.5, fourth / second**2, downside)

    @classmethod
    def of(cls, returns: Floats) -> Self:
        """Return the moments of returns of shape (n_returns,)."""
        if len(returns) < 1:
            return cls(0, 0.0, 0.0, 0.0, 3.0, 0.0)
        mean = float(returns.mean())
        centred = returns - mean
        second = float((centred**2).mean())
        deviation = math.sqrt(second * len(returns) / (len(returns) - 1)) if len(returns) > 1 else 0.0
        downside = math.sqrt(float((np.minimum(returns, 0.0) ** 2).mean()))
        if deviation <= _FLAT:
            return cls(len(returns), mean, 0.0, 0.0, 3.0, downside)
        skew = float((centred**3).mean()) / second**1.5
        kurtosis = float((centred**4).mean()) / second**2
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
    """Return the standard error of a Sharpe ratio of one period, estimated from `count` independent returns."""
    variance = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    return math.sqrt(max(variance, 0.0) / (count - 1))


def returns_of(equity: Floats) -> Floats:
    """Return the simple returns of an equity curve, shape (n - 1,); 0 after equity has reached zero or less."""
    before, after = equity[:-1], equity[1:]
    alive = before > 0.0
    return np.where(alive, after / np.where(alive, before, 1.0) - 1.0, 0.0)


def max_drawdown(equity: Floats) -> float:
    """Return the largest fall from a peak as a fraction of the peak, in [0, 1]; 0 for an empty curve."""
    if not len(equity):
        return 0.0
    peaks = np.maximum.accumulate(equity)
    return float(np.clip(np.max(1.0 - equity / peaks), 0.0, 1.0))


def score(win_rate: float | None, avg_pnl_pct: float | None, sharpe: float | None, drawdown: float) -> float | None:
    """Return the one score by which everything is ranked, unclamped; null where a term is.

    `40 * win_rate + 30 * avg_pnl_pct + 20 * sharpe - 10 * max_drawdown`.
    """
    terms = score_terms(win_rate, avg_pnl_pct, sharpe, drawdown)
    return None if terms is None else terms[0] + terms[1] + terms[2] + terms[3]


def score_terms(
    win_rate: float | None, avg_pnl_pct: float | None, sharpe: float | None, drawdown: float
) -> tuple[float, float, float, float] | None:
    """Return the four terms that add up to `score`, or null."""
    if win_rate is None or avg_pnl_pct is None or sharpe is None:
        return None
    return 40.0 * win_rate, 30.0 * avg_pnl_pct, 20.0 * sharpe, -10.0 * drawdown
