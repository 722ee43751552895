"""Direction: gradient-boosted trees (LightGBM) on whether the price will be higher a horizon later.

Belongs here: this model. Does not belong here: how trees are boosted (`model_zoo.models._boosting`), labels, folds,
thresholds.
"""

import numpy as np
import polars as pl

from features.array_types import FloatArray
from model_zoo.models._boosting import Boosted


class DirectionModel(Boosted):
    """LightGBM classifier of the sign of the forward return."""

    type = "direction"
    objective = "binary"
    metric = "binary_logloss"
    target = "label_event"

    def raw(self, matrix: FloatArray) -> FloatArray:
        """See `Model.raw`."""
        return self.output(matrix)

    def class_weights(self, rows: pl.DataFrame) -> FloatArray:
        """See `Boosted.class_weights`: both classes equal; the score says what the inputs add to the base rate."""
        up = rows["label_event"].to_numpy()
        share = np.clip(up.mean(), 0.01, 0.99)
        weights: FloatArray = np.where(up, 0.5 / share, 0.5 / (1 - share))
        return weights
