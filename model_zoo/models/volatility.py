"""Volatility: gradient-boosted trees (LightGBM) on the realised volatility of the bars ahead.

Belongs here: this model. Does not belong here: how trees are boosted (`model_zoo.models._boosting`), the label's
definition (`model_zoo.datasets.labels`).

Volatility clusters, so this is predictable on every market, also where prices are not: that it beats a constant says
nothing about profit.
"""

from typing import ClassVar, Final

import numpy as np
import polars as pl

from features.array_types import FloatArray
from model_zoo.models._boosting import Boosted
from model_zoo.models.base import ModelSpec, Regressor, spread_of
from model_zoo.models.calibration import USUAL

FLOOR: Final = 0.01
"""A volatility below this share of the usual counts as this share, so that its logarithm exists."""


class VolatilityModel(Boosted, Regressor):
    """LightGBM regression of the forward realised volatility, relative to that of the last day."""

    type = "volatility"
    objective = "regression"
    metric = "l2"
    target = "label_value"
    directional = False
    event = "the realised volatility of the bars ahead is above that of the last day"
    scale = "parkinson_volatility"
    unit = "log ratio to the last day's volatility"
    honest_accuracy: ClassVar[float] = 0.90
    honest_auc: ClassVar[float] = 0.95
    prior = USUAL

    @classmethod
    def value(cls, spec: ModelSpec) -> pl.Expr:
        """See `Model.value`: ln(label_volatility / scale)."""
        return (pl.col("label_volatility") / pl.col(spec.scale)).clip(FLOOR).log()

    def fit(self, rows: pl.DataFrame) -> None:
        """See `Model.fit`."""
        self.spread = spread_of(rows["label_value"].to_numpy())
        super().fit(rows)

    def estimate(self, matrix: FloatArray) -> FloatArray:
        """See `Regressor.estimate`."""
        return self.output(matrix)

    def class_weights(self, rows: pl.DataFrame) -> FloatArray:
        """See `Boosted.class_weights`: a regression has no classes."""
        return np.ones(rows.height)
