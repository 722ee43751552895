"""Calibration: from a score to a calibrated probability.

Belongs here: Platt scaling (J. Platt 1999, "Probabilistic outputs for support vector machines"). Does not belong
here: which predictions it is fitted on (`model_zoo.training.trainer`: those out of fold, never the training rows).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from features.array_types import FloatArray

SLOPE_PRIOR: Final = 0.4
"""What a score is worth before anything is known: boosted trees claim about twice what they keep out of sample."""
SLOPE_PRECISION: Final = 10.0
"""Of that prior: a few days of predictions move it, one day hardly does."""
INTERCEPT_PRIOR: Final = 2500.0
"""Precision of the prior of the base rate's log-odds around 0, a standard deviation of 0.02: over an hour a price
goes up about as often as down, and one week's share of ups says next to nothing about the next day's."""
LEAST_SLOPE: Final = 0.05
"""A model that was surely wrong out of fold is nearly silenced, not turned round. Not quite, so that its calls keep
their order and its backtest shows what the surest of them are worth."""


@dataclass(frozen=True)
class Prior:
    """What is believed of a calibration before anything is seen.

    Attributes
    ----------
    slope : float
        What a score is worth.
    slope_precision, intercept_precision : float
        Of the slope, and of the intercept around 0.
    """

    slope: float = SLOPE_PRIOR
    slope_precision: float = SLOPE_PRECISION
    intercept_precision: float = INTERCEPT_PRIOR


DIRECTION: Final = Prior()
"""Of a price going up."""
USUAL: Final = Prior(1.0, 10.0, 1.0)
"""Of something being above usual: how often that is so is learned freely, and volatility keeps its promises."""


@dataclass(frozen=True)
class Calibration:
    """P(event) = 1 / (1 + exp(-(slope * score + intercept))); value = value_slope * estimate + value_intercept.

    Attributes
    ----------
    slope : float
        At least `LEAST_SLOPE` where it was fitted.
    intercept : float
        Log-odds of the base rate where the slope is 0.
    value_slope, value_intercept : float
        Of a regressor's estimates; see `fit_values`.
    """

    slope: float = 1.0
    intercept: float = 0.0
    value_slope: float = 1.0
    value_intercept: float = 0.0

    def apply(self, score: FloatArray) -> FloatArray:
        """Return the probabilities of scores (log-odds), strictly inside (0, 1).

        `score` and the result have shape (n_rows,).
        """
        probability: FloatArray = expit(self.slope * score + self.intercept)
        return np.clip(probability, 1e-6, 1 - 1e-6)

    def value(self, estimate: FloatArray) -> FloatArray:
        """Return the calibrated values of a regressor's estimates.

        `estimate` and the result have shape (n_rows,).
        """
        return self.value_slope * estimate + self.value_intercept


def fit_calibration(
    score: FloatArray, up: npt.NDArray[np.bool_], overlap: float = 1.0, prior: Prior = DIRECTION
) -> Calibration:
    """Return the calibration with the highest posterior probability.

    Parameters
    ----------
    score : ndarray of shape (n_rows,)
        Log-odds of out-of-fold predictions.
    up : ndarray of shape (n_rows,), bool
        Whether the event happened.
    overlap : float
        Rows that share one label's time; n_rows / overlap rows count as independent.
    prior : Prior
        Prior of slope and intercept.

    Returns
    -------
    Calibration
        Platt scaling with a Gaussian prior.

    References
    ----------
    Platt (1999), "Probabilistic Outputs for Support Vector Machines".
    """
    target = up.astype(np.float64)
    weight = 1.0 / overlap

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        slope, intercept = theta
        z = slope * score + intercept
        error = weight * (expit(z) - target)
        likelihood = weight * float(np.sum(np.logaddexp(0.0, z) - target * z))
        away, firm, level = slope - prior.slope, prior.slope_precision, prior.intercept_precision
        penalty = (firm * away**2 + level * intercept**2) / 2
        return likelihood + penalty, np.array([error @ score + firm * away, error.sum() + level * intercept])

    solution = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(LEAST_SLOPE, 5.0), (-5.0, 5.0)]
    )
    return Calibration(float(solution.x[0]), float(solution.x[1]))


def base_rate(up: npt.NDArray[np.bool_], overlap: float = 1.0, prior: Prior = DIRECTION) -> float:
    """Return the naive probability of the event: its share in the training rows, shrunk towards 1/2 by the prior.

    Parameters
    ----------
    up : ndarray of shape (n_rows,), bool
        Events of the training rows.
    overlap, prior
        As for `fit_calibration`.

    Returns
    -------
    float
        Above 0 and below 1.
    """
    return float(fit_calibration(np.zeros(len(up)), up, overlap, prior).apply(np.zeros(1))[0])


VALUE_ROWS: Final = 50.0
"""Weight of the prior of a value's slope, in independent observations."""
MOST_SLOPE: Final = 3.0
"""Largest slope of a value."""


def fit_values(
    estimate: FloatArray, value: FloatArray, overlap: float, prior: Prior, *, centred: bool
) -> tuple[float, float]:
    """Return slope and intercept that calibrate estimates: least squares, shrunk to the slope of the prior.

    Parameters
    ----------
    estimate, value : ndarray of shape (n_rows,)
        Out-of-fold estimates, and actual values.
    overlap : float
        As for `fit_calibration`.
    prior : Prior
        Its slope is used.
    centred : bool
        Whether the values have a level of their own; else the intercept is 0, as for a price's move.

    Returns
    -------
    tuple of two float
        Slope and intercept.
    """
    x_mean, y_mean = (float(estimate.mean()), float(value.mean())) if centred else (0.0, 0.0)
    x, y = estimate - x_mean, value - y_mean
    extra = VALUE_ROWS * overlap * float(np.mean(x**2))
    shrunk = (float(x @ y) + extra * prior.slope) / max(float(x @ x) + extra, 1e-12)
    slope = min(max(shrunk, 0.0), MOST_SLOPE)
    return slope, y_mean - slope * x_mean
