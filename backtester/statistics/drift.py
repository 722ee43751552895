"""Drift tests: forward performance against the performance expected at activation, adjusted for many tests.

Belongs here: the comparison of two hourly series, the adjustment for many tests, the decision. Does not belong here:
which series are compared, and what a drift causes (`blofin_assets.drift`).

A week has only 7 blocks of 24 hours, so its variance is itself poorly estimated. The bootstrap is therefore of the
studentised difference (Hall 1988; Götze & Künsch 1996 for blocks): each draw is divided by its own standard error,
which widens the tails accordingly. If one week is calmer than the other, these tails are still too thin, and Welch's t
on the blocks, with fewer degrees of freedom, is stricter. The p-value is the larger of the two. Blocks are drawn from
the circle of hours (Politis & Romano 1992). Many tests: Benjamini & Hochberg (1995).

Nothing here corrects the winner's curse: a strategy that was selected on its holdout has too high an expectation, and
then seems to drift. The guide says how often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import numpy as np
import scipy

from backtester.statistics.bootstrap import circular_means
from features.array_types import FloatArray


class Decision(StrEnum):
    """Outcome of a drift test."""

    DRIFT = "drift"
    STEADY = "steady"
    INSUFFICIENT = "insufficient"
    """Too little data."""


BLOCK: Final = 24
"""Block length in hours; 24 preserves intraday autocorrelation."""
DRAWS: Final = 9_999
LEAST_TRADES: Final = 20
LEAST_DAYS: Final = 7.0
"""A run must have lasted longer than this many days."""
LEAST_EFFECT: Final = 0.10
"""Smallest relevant effect: difference over the larger of |expected| and its standard error."""
FALSE_DISCOVERY: Final = 0.10
"""Accepted share of false alarms among the alarms of one evaluation date."""
POWER: Final = 0.80
"""Probability with which the minimum detectable effect is detected."""
INTERVAL: Final = 0.90
_LEAST_BLOCKS: Final = 2


@dataclass(frozen=True)
class MeanDifference:
    """Difference of the means of two hourly series, of which higher values are better.

    Attributes
    ----------
    expected, expected_se, forward : float
        Means of the two series, and the standard error of the first from its blocks.
    difference : float
        Expected less forward; above 0 is a shortfall.
    se : float
        Standard error of the difference.
    low, high : float
        90 % interval of the difference; infinite where a twentieth of the draws has no spread.
    p : float
        One-sided p-value, the larger of the bootstrap's and Welch's.
    freedom : float
        Degrees of freedom of its standard error (Satterthwaite).
    """

    expected: float
    expected_se: float
    forward: float
    difference: float
    se: float
    low: float
    high: float
    p: float
    freedom: float

    @property
    def effect(self) -> float:
        """Difference over the larger of |expected| and its standard error."""
        return self.difference / max(abs(self.expected), self.expected_se)

    def minimum_detectable(self, tests: int) -> float:
        """Return the smallest difference that one of so many tests would find with a probability of 80 %."""
        quantiles = scipy.stats.t.ppf([1.0 - FALSE_DISCOVERY / tests, POWER], self.freedom)
        return float(quantiles.sum() * self.se)


class TestStatistic(Protocol):
    """What `decide` needs of a comparison, and what is stored of it; `MeanDifference` is one."""

    @property
    def expected(self) -> float:
        """Expected value."""

    @property
    def expected_se(self) -> float:
        """Its standard error."""

    @property
    def forward(self) -> float:
        """Forward value."""

    @property
    def difference(self) -> float:
        """Shortfall; above 0 is worse than expected."""

    @property
    def low(self) -> float:
        """Lower end of the 90 % interval of the difference."""

    @property
    def high(self) -> float:
        """Upper end of it."""

    @property
    def p(self) -> float:
        """One-sided p-value."""

    @property
    def effect(self) -> float:
        """Difference over the larger of |expected| and its standard error."""

    def minimum_detectable(self, tests: int) -> float:
        """Return the smallest difference that one of so many tests would find with a probability of 80 %."""


@dataclass(frozen=True)
class DriftTest:
    """One test of an evaluation date.

    Attributes
    ----------
    comparison : TestStatistic or None
        None where the data do not allow one.
    days : float
        Days since activation.
    trades : int or None
        Closed trades behind the forward series; None where no trades are counted.
    otherwise : str
        Why there is no comparison although there are enough days and trades.
    """

    comparison: TestStatistic | None
    days: float
    trades: int | None
    otherwise: str = "a series shorter than two days, or without any variation"

    @property
    def lacking(self) -> str:
        """What is too little; '' if the test can be made."""
        if self.days <= LEAST_DAYS:
            return f"{self.days:.1f} days, more than {LEAST_DAYS:.0f} are needed"
        if self.trades is not None and self.trades < LEAST_TRADES:
            return f"{self.trades} closed trades, {LEAST_TRADES} are needed"
        return "" if self.comparison is not None else self.otherwise


@dataclass(frozen=True)
class Verdict:
    """Decision of one test; `q` and `minimum_detectable` are null where data are insufficient."""

    decision: Decision
    q: float | None
    minimum_detectable: float | None
    reason: str


def compare(expected: FloatArray, forward: FloatArray, *, seed: int, draws: int = DRAWS) -> MeanDifference | None:
    """Compare a forward series with the expected one.

    Parameters
    ----------
    expected, forward : ndarray of shape (n_hours,)
        Hourly values in order of time; higher is better.
    seed : int
        Of the bootstrap.
    draws : int
        Bootstrap draws.

    Returns
    -------
    MeanDifference or None
        None where either has fewer than two blocks, or neither varies from block to block.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> result = compare(rng.normal(0.5, 1.0, 240), rng.normal(-0.5, 1.0, 240), seed=7)
    >>> result.p < 0.01
    True
    """
    sides = (np.asarray(expected, np.float64), np.asarray(forward, np.float64))
    if min(len(side) // BLOCK for side in sides) < _LEAST_BLOCKS:
        return None
    (mean, variance), (later, later_variance) = (_moments(side) for side in sides)
    se = float(np.sqrt(variance + later_variance))
    if not se > 0.0 or not variance > 0.0:
        return None
    rng = np.random.default_rng(seed)
    away, spread = zip(*(circular_means(side, BLOCK, draws=draws, rng=rng) for side in sides), strict=True)
    sizes = [len(side) // BLOCK - 1 for side in sides]
    freedom = (variance + later_variance) ** 2 / (variance**2 / sizes[0] + later_variance**2 / sizes[1])
    drawn = _ratio(away[0] - away[1], np.sqrt(spread[0] + spread[1]))
    difference = mean - later
    below, above = _bounds(drawn)
    return MeanDifference(
        expected=mean,
        expected_se=float(np.sqrt(variance)),
        forward=later,
        difference=difference,
        se=se,
        low=difference - above * se,
        high=difference - below * se,
        p=max(
            (1.0 + float(np.count_nonzero(drawn >= difference / se))) / (draws + 1.0),
            float(scipy.stats.t.sf(difference / se, freedom)),
        ),
        freedom=freedom,
    )


def decide(tests: Sequence[DriftTest]) -> list[Verdict]:
    """Return the decision of each test of one evaluation date, adjusted for their number."""
    tested = [(place, test.comparison) for place, test in enumerate(tests) if not test.lacking and test.comparison]
    adjusted = scipy.stats.false_discovery_control([comparison.p for _, comparison in tested]) if tested else []
    q = {place: float(value) for (place, _), value in zip(tested, adjusted, strict=True)}
    verdicts = []
    for place, test in enumerate(tests):
        comparison = test.comparison
        if comparison is None or place not in q:
            verdicts.append(Verdict(Decision.INSUFFICIENT, None, None, f"insufficient: {test.lacking}"))
            continue
        drifted = q[place] <= FALSE_DISCOVERY and comparison.effect > LEAST_EFFECT
        effect, count = f"{comparison.effect:+.0%}", len(tested)
        reason = f"effect {effect} of what was expected or its error, q {q[place]:.3f} over {count} tests"
        least = comparison.minimum_detectable(count)
        verdicts.append(Verdict(Decision.DRIFT if drifted else Decision.STEADY, q[place], least, reason))
    return verdicts


def _moments(series: FloatArray) -> tuple[float, float]:
    """Return the mean of a series and the variance of that mean, from its last whole blocks."""
    count = len(series) // BLOCK
    blocks = series[len(series) - count * BLOCK :].reshape(count, BLOCK).mean(axis=1)
    return float(series.mean()), float(blocks.var(ddof=1) / count)


def _bounds(drawn: FloatArray) -> tuple[float, float]:
    """Return the draws between which `INTERVAL` of them lie; not between draws, since some are infinite."""
    ordered, last, tail = np.sort(drawn), len(drawn) - 1, (1.0 - INTERVAL) / 2.0
    return float(ordered[int(tail * last)]), float(ordered[-1 - int(tail * last)])


def _ratio(away: FloatArray, spread: FloatArray) -> FloatArray:
    """Return away over spread; a draw without spread, all of whose blocks are one, is as far away as can be."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = away / spread
    return np.where(spread > 0.0, ratio, np.where(away == 0.0, 0.0, np.copysign(np.inf, away)))
