"""Inputs on one scale, for the models that need it.

Belongs here: centring, scaling, clipping and what stands for the unknown. Does not belong here: choosing inputs.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from features.array_types import FloatArray

LARGEST: Final = 4.0
"""Deviations at which inputs are clipped, since heavy tails mislead kernels and networks."""


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each input on the training rows.

    Attributes
    ----------
    mean, deviation : ndarray of shape (n_inputs,)
        0 and 1 where an input was never known; deviation 1 where it never changed.
    """

    mean: FloatArray
    deviation: FloatArray

    @classmethod
    def of(cls, matrix: FloatArray) -> Self:
        """Return the scaling of training rows, shape (n_rows, n_inputs); NaN is left out."""
        finite = np.isfinite(matrix)
        count = np.maximum(finite.sum(axis=0), 1)
        mean = np.where(finite, matrix, 0.0).sum(axis=0) / count
        deviation = np.sqrt(np.where(finite, (matrix - mean) ** 2, 0.0).sum(axis=0) / count)
        return cls(mean, np.where(deviation > 0, deviation, 1.0))

    def apply(self, matrix: FloatArray) -> FloatArray:
        """Return the inputs in deviations from the mean, clipped; 0, the mean, for NaN."""
        scaled: FloatArray = np.clip((matrix - self.mean) / self.deviation, -LARGEST, LARGEST)
        return np.where(np.isfinite(matrix), scaled, 0.0)
