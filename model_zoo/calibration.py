"""From a score to a probability that means what it says.

Belongs here: Platt scaling (J. Platt 1999, "Probabilistic outputs for support vector machines"). Does not belong
here: which predictions it is fitted on (`model_zoo.trainer`: those out of fold, never the training rows).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

FloatArray = npt.NDArray[np.float64]

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
class Calibration:
    """P(up) = 1 / (1 + exp(-(slope * score + intercept))).

    Attributes
    ----------
    slope : float
        At least `LEAST_SLOPE` where it was fitted.
    intercept : float
        Log-odds of the base rate where the slope is 0.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, score: FloatArray) -> FloatArray:
        """Return the probabilities of scores (log-odds), strictly inside (0, 1)."""
        probability: FloatArray = expit(self.slope * score + self.intercept)
        return np.clip(probability, 1e-6, 1 - 1e-6)


def fit_calibration(score: FloatArray, up: npt.NDArray[np.bool_], overlap: float = 1.0) -> Calibration:
    """Return the calibration of greatest posterior probability.

    Parameters
    ----------
    score : ndarray of shape (n_rows,)
        Log-odds of predictions that were made out of fold.
    up : ndarray of shape (n_rows,)
        What happened.
    overlap : float
        Rows that share one label's time, so that n_rows / overlap count as independent.
    """
    target = up.astype(np.float64)
    weight = 1.0 / overlap

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        slope, intercept = theta
        z = slope * score + intercept
        error = weight * (expit(z) - target)
        likelihood = weight * float(np.sum(np.logaddexp(0.0, z) - target * z))
        prior = (SLOPE_PRECISION * (slope - SLOPE_PRIOR) ** 2 + INTERCEPT_PRIOR * intercept**2) / 2
        return likelihood + prior, np.array(
            [error @ score + SLOPE_PRECISION * (slope - SLOPE_PRIOR), error.sum() + INTERCEPT_PRIOR * intercept]
        )

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(LEAST_SLOPE, 5.0), (-5.0, 5.0)])
    return Calibration(float(found.x[0]), float(found.x[1]))


def base_rate(up: npt.NDArray[np.bool_], overlap: float = 1.0) -> float:
    """Return the naive probability of up: the share of ups, drawn towards 1/2 by the same prior.

    Parameters
    ----------
    up, overlap
        As for `fit_calibration`, of the training rows.
    """
    return float(fit_calibration(np.zeros(len(up)), up, overlap).apply(np.zeros(1))[0])
