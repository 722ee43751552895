"""What to expect of a strategy's Sharpe ratio, given all windows in which it and its peers were run.

Belongs here: the panel of windows, its random-effects fit, the expected ratio of each member with its interval. Does
not belong here: the ratio and the error of one window (`backtester.statistics.overfitting`), which windows enter.

The ratio of member i in window w is y_iw = a_w + theta_i + e_iw. a_w is what the window did to everybody. e_iw is noise
whose variance is known: the squared standard error of the ratio. theta_i, what is looked for, is normal around x_i'beta
with variance tau squared; x holds what is known of the member without its results. tau squared is estimated by
restricted maximum likelihood. The expectation of theta_i lies between x_i'beta and the member's own mean, the nearer to
the former the less is known: a week's ratio of strategies that differ by 1.5 has a reliability of 0.04.

Sources: Henderson, "Best linear unbiased estimation and prediction under a selection model" (1975); Harville, "Maximum
likelihood approaches to variance component estimation" (1977); Morris, "Parametric empirical Bayes inference" (1983).
How often the intervals hold is measured by `calibration/run_expected.py`.
"""

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from features.array_types import FloatArray

LEVEL: Final = 0.8
"""Probability of the intervals."""
HALF_LIFE: Final = timedelta(days=180)
"""Age of a window at which the variance of its errors counts double in a member's mean. To be fitted by replays."""
LEAST_MEMBERS: Final = 10
"""Fewest members with a ratio from which anything is expected, ..."""
LEAST_WINDOWS: Final = 4
"""... and fewest windows: below, neither the spread of members nor that of windows is known."""
MEMBERS_PER_COVARIATE: Final = 10
"""Fewest members for each covariate; further ones are left out."""
_GRID: Final = 64
_LEAST: Final = 1e-9


@dataclass(frozen=True, eq=False)
class Expectation:
    """What to expect of each member.

    Attributes
    ----------
    ratio : ndarray of shape (n_members,)
        Expected ratio in a window of average effect; NaN for a member without a window, and for all where the panel is
        too small.
    error : ndarray of shape (n_members,)
        Standard deviation of the true ratio around it.
    low, high : ndarray of shape (n_members,)
        Interval that holds the ratio of the next month with a probability of `LEVEL`.
    windows : ndarray of shape (n_members,)
        Number of windows in which the member has a ratio.
    spread : float
        Standard deviation of true ratios that covariates leave unexplained; NaN where the panel is too small.
    window_spread : float
        Standard deviation of the windows' effects.
    """

    ratio: FloatArray
    error: FloatArray
    low: FloatArray
    high: FloatArray
    windows: NDArray[np.int64]
    spread: float
    window_spread: float


def expected_ratios(
    ratios: FloatArray,
    errors: FloatArray,
    covariates: FloatArray | None = None,
    *,
    part: float = 0.25,
    half_life: float = math.inf,
) -> Expectation:
    """Return what to expect of the members of a panel.

    Parameters
    ----------
    ratios : ndarray of shape (n_members, n_windows)
        Ratio of each member in each window, the newest window last; windows must not overlap. NaN where it was not run
        or has none. Everything that a window was used to choose from has to be in it, not the chosen alone.
    errors : ndarray of shape (n_members, n_windows)
        Standard errors of the ratios; where one is not a finite number above 0, the ratio is left out.
    covariates : ndarray of shape (n_members, n_covariates), optional
        What is known of members without their results, the most important first; all finite. One in ten members is used
        at most.
    part : float
        Length of a window over that of a month: a month's noise has so much of a window's variance.
    half_life : float
        Age in windows at which the variance of an error counts double in the means, since members and markets change
        (`HALF_LIFE`). The spread is estimated without.

    Returns
    -------
    Expectation
        NaN throughout if fewer than `LEAST_MEMBERS` members or `LEAST_WINDOWS` windows have a ratio.

    Notes
    -----
    The interval's variance is that of the true ratio, of the month's window effect and of its noise. The first averages
    over the likelihood of tau, so an estimate of 0 does not make it vanish, and has the part of the estimated means.

    Examples
    --------
    >>> ratios = np.add.outer(np.linspace(-2.0, 2.0, 10), np.tile([1.0, -1.0], 4))
    >>> found = expected_ratios(ratios, np.full((10, 8), 2.0))
    >>> found.ratio[[0, -1]].round(2).tolist(), round(found.spread, 2)
    ([-1.45, 1.45], 1.14)
    """
    known = np.isfinite(ratios) & np.isfinite(errors) & (np.nan_to_num(errors) > 0.0)
    count = known.sum(axis=1)
    used = np.flatnonzero(known.any(axis=0))
    if (count > 0).sum() < LEAST_MEMBERS or len(used) < LEAST_WINDOWS:
        nothing = np.full(len(ratios), np.nan)
        return Expectation(nothing, nothing, nothing, nothing, count, np.nan, np.nan)
    members = np.flatnonzero(count)
    panel = _Panel.of(ratios, errors, known, members, used, covariates)
    grid, likelihood, tau = panel.spread()
    aged = panel.aged(half_life)
    best, fits = aged.at(tau), [aged.at(each) for each in grid]
    variance = np.sum(
        [share * (fit.variance + (fit.mean - best.mean) ** 2) for share, fit in zip(likelihood, fits, strict=True)],
        axis=0,
    )
    window_variance = panel.window_variance(panel.at(tau))
    noise = np.array([np.mean(errors[row, known[row]] ** 2) for row in members])
    reach = float(norm.ppf(0.5 + LEVEL / 2.0)) * np.sqrt(variance + part * (window_variance + noise))

    def placed(values: FloatArray) -> FloatArray:
        every = np.full(len(ratios), np.nan)
        every[members] = values
        return every

    return Expectation(
        ratio=placed(best.mean),
        error=placed(np.sqrt(variance)),
        low=placed(best.mean - reach),
        high=placed(best.mean + reach),
        windows=count,
        spread=tau,
        window_spread=float(np.sqrt(window_variance)),
    )


@dataclass(frozen=True, eq=False)
class _Fit:
    """The panel at one value of tau: log restricted likelihood, fixed effects, and each member's posterior."""

    likelihood: float
    effects: FloatArray
    covariance: FloatArray
    mean: FloatArray
    variance: FloatArray


@dataclass(frozen=True, eq=False)
class _Panel:
    """Sums of a panel, from which a fit at any tau follows.

    Fixed effects are the coefficients of x, its constant first, then all windows' effects but the last, which is what
    makes their sum zero.
    """

    y: FloatArray
    variance: FloatArray
    age: FloatArray
    own: FloatArray
    fixed: FloatArray
    contrasts: FloatArray
    member: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        ratios: FloatArray,
        errors: FloatArray,
        known: NDArray[np.bool_],
        members: NDArray[np.int64],
        used: NDArray[np.int64],
        covariates: FloatArray | None,
    ) -> "_Panel":
        """Return the panel of the members and windows that have a ratio."""
        rows, columns = np.nonzero(known[np.ix_(members, used)])
        at = members[rows], used[columns]
        age = (ratios.shape[1] - 1 - used[columns]).astype(np.float64)
        contrasts = np.vstack([np.eye(len(used) - 1), -np.ones(len(used) - 1)])
        own = _covariates(covariates, members)
        fixed = np.hstack([own[rows], contrasts[columns]])
        kept = _independent(fixed, own.shape[1])
        own, fixed = own[:, kept], np.hstack([fixed[:, : len(kept)][:, kept], fixed[:, len(kept) :]])
        return cls(ratios[at], errors[at] ** 2, age, own, fixed, contrasts, rows)

    def aged(self, half_life: float) -> "_Panel":
        """Return the panel with larger variances of older windows."""
        return replace(self, variance=self.variance * 2.0 ** (self.age / half_life))

    def at(self, tau: float) -> _Fit:
        """Return the fit at a standard deviation of true ratios."""
        n = len(self.own)
        weight = 1.0 / self.variance
        precision = np.bincount(self.member, weight, n)
        told = np.bincount(self.member, weight * self.y, n)
        of_fixed = np.array([np.bincount(self.member, weight * column, n) for column in self.fixed.T]).T
        shrunk = tau**2 / (1.0 + tau**2 * precision)
        normal = (self.fixed.T * weight) @ self.fixed - (of_fixed.T * shrunk) @ of_fixed
        right = self.fixed.T @ (weight * self.y) - of_fixed.T @ (shrunk * told)
        covariance = np.linalg.inv(normal)
        effects = covariance @ right
        squares = float(self.y @ (weight * self.y) - told @ (shrunk * told) - right @ effects)
        scale = float(np.log(self.variance).sum() + np.log1p(tau**2 * precision).sum() + np.linalg.slogdet(normal)[1])
        between = self.own @ effects[: self.own.shape[1]]
        # B (mean of the member's ratios less its windows' effects less x'beta), added to x'beta
        mean = between + shrunk * (told - of_fixed @ effects)
        padded = np.hstack([self.own, np.zeros((n, self.fixed.shape[1] - self.own.shape[1]))])
        moved = padded - shrunk[:, None] * of_fixed
        variance = shrunk + ((moved @ covariance) * moved).sum(axis=1)
        return _Fit(-0.5 * (scale + squares), effects, covariance, mean, variance)

    def spread(self) -> tuple[FloatArray, FloatArray, float]:
        """Return values of tau from 0 to beyond all that is plausible, their likelihoods (sum 1), and the best tau."""
        precision = np.bincount(self.member, 1.0 / self.variance)
        means = np.bincount(self.member, self.y / self.variance) / precision
        grid = np.linspace(0.0, 2.0 * float(np.std(means)) + _LEAST, _GRID)
        logs = np.array([self.at(float(tau)).likelihood for tau in grid])
        place = int(np.argmax(logs))
        found = minimize_scalar(
            lambda tau: -self.at(float(tau)).likelihood,
            bounds=(grid[max(place - 1, 0)], grid[min(place + 1, _GRID - 1)]),
            method="bounded",
            options={"xatol": 1e-6},
        )
        best = float(found.x) if -float(found.fun) > logs[0] else 0.0
        likelihood = np.exp(logs - logs.max())
        return grid, likelihood / likelihood.sum(), best

    def window_variance(self, fit: _Fit) -> float:
        """Return the variance of windows' effects, less what their errors add to it; 0 or more."""
        first = self.own.shape[1]
        effects = self.contrasts @ fit.effects[first:]
        errors = ((self.contrasts @ fit.covariance[first:, first:]) * self.contrasts).sum(axis=1)
        count = len(effects)
        return max(float(effects @ effects / (count - 1) - errors.sum() / (count - 1)), 0.0)


def _covariates(covariates: FloatArray | None, members: NDArray[np.int64]) -> FloatArray:
    """Return the constant and the standardised covariates of the members, of which as many as they can bear."""
    constant = np.ones((len(members), 1))
    if covariates is None:
        return constant
    values = covariates[members][:, : len(members) // MEMBERS_PER_COVARIATE]
    deviation = values.std(axis=0)
    varied = values[:, deviation > 0.0]
    return np.hstack([constant, (varied - varied.mean(axis=0)) / varied.std(axis=0)])


def _independent(fixed: FloatArray, own: int) -> NDArray[np.bool_]:
    """Return which covariates the constant, the windows and those before them do not determine."""
    kept = np.zeros(own, dtype=np.bool_)
    windows = fixed[:, own:]
    for place in range(own):
        tried = np.hstack([fixed[:, :own][:, kept], fixed[:, [place]], windows])
        kept[place] = np.linalg.matrix_rank(tried) == tried.shape[1]
    return kept
