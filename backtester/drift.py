"""Did it keep its promise? Forward results against the estimate at activation, and many such tests in one night.

Belongs here: the comparison of two hourly series, the adjustment for many tests, what a night decides, the distance
between distributions of a feature. Does not belong here: which series (`blofin_assets.drift`), what follows.

A week of hours is few: 7 blocks of 24 hours, whose spread is itself badly known. So the bootstrap is of the
studentised difference (Hall 1988; Götze & Künsch 1996 for blocks): each draw is divided by its own standard error,
which gives the tails that so few blocks deserve. Where the market was calmer in one week than in the other, even these
are too thin, and Welch's t on the blocks, whose degrees of freedom fall then, is the stricter: the p-value is the
larger of the two. Blocks are drawn from the circle of hours (Politis & Romano 1992).
Many tests: Benjamini & Hochberg (1995).

Nothing here corrects the winner's curse: what was chosen for its exam promises too much, and then seems to drift. The
guide says how often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control
from scipy.stats import t as student

Floats = npt.NDArray[np.float64]
Decision = Literal["drift", "steady", "insufficient"]

BLOCK: Final = 24
"""Hours of a block: what hangs together within a day stays together."""
DRAWS: Final = 9_999
LEAST_TRADES: Final = 20
LEAST_DAYS: Final = 7.0
"""A run must have lasted longer than this many days."""
LEAST_EFFECT: Final = 0.10
"""Difference over the larger of |promise| and its standard error, from which it matters."""
FALSE_DISCOVERY: Final = 0.10
"""Share of false alarms among a night's alarms that is accepted."""
POWER: Final = 0.80
"""Probability with which the minimum detectable effect is detected."""
INTERVAL: Final = 0.90
_LEAST_BLOCKS: Final = 2


@dataclass(frozen=True)
class Comparison:
    """Two hourly series held against each other; more is better.

    Attributes
    ----------
    promise, promise_se, forward : float
        Means, and the standard error of the first from its blocks.
    difference : float
        Promise less forward: above 0 is worse than promised.
    se : float
        Standard error of the difference.
    low, high : float
        90 % interval of the difference; infinite where a twentieth of the draws has no spread.
    p : float
        One-sided: of a difference as large where there is none; the larger of the bootstrap's and of Welch's t.
    freedom : float
        Degrees of freedom of its standard error (Satterthwaite).
    """

    promise: float
    promise_se: float
    forward: float
    difference: float
    se: float
    low: float
    high: float
    p: float
    freedom: float

    @property
    def effect(self) -> float:
        """Difference over the larger of |promise| and its standard error."""
        return self.difference / max(abs(self.promise), self.promise_se)

    def minimum_detectable(self, tests: int) -> float:
        """Return the smallest difference that one of so many tests would find with a probability of 80 %."""
        quantiles = student.ppf([1.0 - FALSE_DISCOVERY / tests, POWER], self.freedom)
        return float(quantiles.sum() * self.se)


class Compared(Protocol):
    """What a night needs of a comparison, and what is stored of it: see `Comparison`, which is one."""

    @property
    def promise(self) -> float:
        """What was to be expected."""

    @property
    def promise_se(self) -> float:
        """Its standard error."""

    @property
    def forward(self) -> float:
        """What came."""

    @property
    def difference(self) -> float:
        """How much worse it is; above 0 is worse."""

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
        """Difference over the larger of |promise| and its standard error."""

    def minimum_detectable(self, tests: int) -> float:
        """Return the smallest difference that one of so many tests would find with a probability of 80 %."""


@dataclass(frozen=True)
class Test:
    """One question of a night.

    Attributes
    ----------
    comparison : Compared or None
        None where the data do not allow one.
    days : float
        How long it has run.
    trades : int or None
        Closed trades behind the forward series; None where no trades are counted.
    otherwise : str
        Why there is no comparison where neither days nor trades lack.
    """

    comparison: Compared | None
    days: float
    trades: int | None
    otherwise: str = "a series shorter than two days, or without any variation"

    @property
    def lacking(self) -> str:
        """What there is too little of; '' where the test can be made."""
        if self.days <= LEAST_DAYS:
            return f"{self.days:.1f} days, more than {LEAST_DAYS:.0f} are needed"
        if self.trades is not None and self.trades < LEAST_TRADES:
            return f"{self.trades} closed trades, {LEAST_TRADES} are needed"
        return "" if self.comparison is not None else self.otherwise


@dataclass(frozen=True)
class Verdict:
    """What a night says of one test: `q` and `minimum_detectable` are null where it was insufficient."""

    decision: Decision
    q: float | None
    minimum_detectable: float | None
    reason: str


def compare(promise: Floats, forward: Floats, *, seed: int, draws: int = DRAWS) -> Comparison | None:
    """Return how a forward series compares with a promised one.

    Parameters
    ----------
    promise, forward : ndarray of shape (n_hours,)
        Hourly values in order, the more the better.
    seed : int
        Of the bootstrap.
    draws : int
        Bootstrap draws.

    Returns
    -------
    Comparison or None
        None where either has fewer than two blocks, or neither varies from block to block.
    """
    sides = (np.asarray(promise, np.float64), np.asarray(forward, np.float64))
    if min(len(side) // BLOCK for side in sides) < _LEAST_BLOCKS:
        return None
    (mean, variance), (later, later_variance) = (_moments(side) for side in sides)
    se = float(np.sqrt(variance + later_variance))
    if not se > 0.0 or not variance > 0.0:
        return None
    rng = np.random.default_rng(seed)
    away, spread = zip(*(_resampled(side, draws, rng) for side in sides), strict=True)
    sizes = [len(side) // BLOCK - 1 for side in sides]
    freedom = (variance + later_variance) ** 2 / (variance**2 / sizes[0] + later_variance**2 / sizes[1])
    drawn = _ratio(away[0] - away[1], np.sqrt(spread[0] + spread[1]))
    difference = mean - later
    below, above = _bounds(drawn)
    return Comparison(
        promise=mean,
        promise_se=float(np.sqrt(variance)),
        forward=later,
        difference=difference,
        se=se,
        low=difference - above * se,
        high=difference - below * se,
        p=max(
            (1.0 + float(np.count_nonzero(drawn >= difference / se))) / (draws + 1.0),
            float(student.sf(difference / se, freedom)),
        ),
        freedom=freedom,
    )


def night(tests: Sequence[Test]) -> list[Verdict]:
    """Return what is decided of each test of a night, taken together."""
    made = [(place, test.comparison) for place, test in enumerate(tests) if not test.lacking and test.comparison]
    adjusted = false_discovery_control([found.p for _, found in made]) if made else []
    q = {place: float(value) for (place, _), value in zip(made, adjusted, strict=True)}
    verdicts = []
    for place, test in enumerate(tests):
        found = test.comparison
        if found is None or place not in q:
            verdicts.append(Verdict("insufficient", None, None, f"insufficient: {test.lacking}"))
            continue
        drifted = q[place] <= FALSE_DISCOVERY and found.effect > LEAST_EFFECT
        said = f"effect {found.effect:+.0%} of the promise or its error, q {q[place]:.3f} over {len(made)} tests"
        least = found.minimum_detectable(len(made))
        verdicts.append(Verdict("drift" if drifted else "steady", q[place], least, said))
    return verdicts


def _moments(series: Floats) -> tuple[float, float]:
    """Return the mean of a series and the variance of that mean, from its last whole blocks."""
    count = len(series) // BLOCK
    blocks = series[len(series) - count * BLOCK :].reshape(count, BLOCK).mean(axis=1)
    return float(series.mean()), float(blocks.var(ddof=1) / count)


def _resampled(series: Floats, draws: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return, for each draw, how far its mean lies from the series', and the variance of that mean in the draw."""
    circle = np.concatenate([series, series[: BLOCK - 1]])
    means = np.lib.stride_tricks.sliding_window_view(circle, BLOCK).mean(axis=1)
    count = len(series) // BLOCK
    drawn = means[rng.integers(0, len(series), (draws, count))]
    return drawn.mean(axis=1) - series.mean(), drawn.var(axis=1, ddof=1) / count


def _bounds(drawn: Floats) -> tuple[float, float]:
    """Return the draws between which `INTERVAL` of them lie; not between draws, since some are infinite."""
    ordered, last, tail = np.sort(drawn), len(drawn) - 1, (1.0 - INTERVAL) / 2.0
    return float(ordered[int(tail * last)]), float(ordered[-1 - int(tail * last)])


def _ratio(away: Floats, spread: Floats) -> Floats:
    """Return away over spread; a draw without spread, all of whose blocks are one, is as far away as can be."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = away / spread
    return np.where(spread > 0.0, ratio, np.where(away == 0.0, 0.0, np.copysign(np.inf, away)))
