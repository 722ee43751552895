"""Risk: a random forest on the maximum adverse excursion over the horizon.

Belongs here: this model. Does not belong here: the label's definition (`model_zoo.labels`), folds, files around the
model.

How far a price strays grows with volatility, which clusters, so this is predictable on every market: that it beats a
constant says nothing about profit.
"""

from math import sqrt
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import polars as pl
from sklearn.ensemble import RandomForestRegressor

from model_zoo.base import FloatArray, ModelError, ModelSpec, Range, Regressor, spread_of, thinned, weights_of
from model_zoo.calibration import USUAL
from model_zoo.safe_files import read_skops, write_skops

TRUSTED: Final = (
    "sklearn.ensemble._forest.RandomForestRegressor",
    "sklearn.tree._classes.DecisionTreeRegressor",
    "sklearn.tree._tree.Tree",
)
FLOOR: Final = 0.05
"""An excursion below this share of the expected move counts as this share, so that its logarithm exists."""


class RiskModel(Regressor):
    """Random forest regression of the maximum adverse excursion, relative to the move usual for the horizon."""

    type = "risk"
    file = "model.skops"
    library = "scikit-learn"
    directional = False
    gate_above = False
    event = "the maximum adverse excursion over the bars ahead is above one usual move"
    unit = "log ratio to one standard deviation of the last day's moves over the horizon"
    honest_accuracy: ClassVar[float] = 0.90
    honest_auc: ClassVar[float] = 0.95
    prior = USUAL
    defaults: ClassVar = {"trees": 40.0, "depth": 6.0, "leaf_share": 0.01, "features": 0.4, "most_rows": 3_000.0}
    ranges: ClassVar = {
        "depth": Range(3, 10, whole=True), "leaf_share": Range(0.002, 0.05, log=True), "features": Range(0.2, 1.0),
    }  # fmt: skip

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._forest: RandomForestRegressor | None = None

    @classmethod
    def value(cls, spec: ModelSpec) -> pl.Expr:
        """See `Model.value`: ln(label_adverse / (scale sqrt(horizon)))."""
        return (pl.col("label_adverse") / (pl.col(spec.scale) * sqrt(spec.horizon))).clip(FLOOR).log()

    def fit(self, rows: pl.DataFrame) -> None:
        """See `Model.fit`: thinned rows, large leaves."""
        kept = thinned(rows, int(self.hyper["most_rows"]))
        values = kept["label_value"].to_numpy()
        self.spread = spread_of(values)
        forest = RandomForestRegressor(
            n_estimators=int(self.hyper["trees"]),
            max_depth=int(self.hyper["depth"]),
            min_samples_leaf=max(5, int(self.hyper["leaf_share"] * kept.height)),
            max_features=self.hyper["features"],
            random_state=self.spec.seed,
            n_jobs=1,
        )
        self._forest = forest.fit(self.matrix(kept), values, sample_weight=weights_of(kept))

    def estimate(self, matrix: FloatArray) -> FloatArray:
        """See `Regressor.estimate`."""
        if self._forest is None:
            raise self.untrained()
        if not matrix.shape[0]:
            return np.empty(0)
        return np.asarray(self._forest.predict(matrix), dtype=np.float64)

    def write(self, path: Path) -> None:
        """See `Model.write`: skops."""
        if self._forest is None:
            raise self.untrained()
        write_skops(path, {"forest": self._forest})

    def read(self, path: Path) -> None:
        """See `Model.read`: nothing but the types of this model is loaded."""
        forest = read_skops(path, TRUSTED).get("forest")
        if not isinstance(forest, RandomForestRegressor) or forest.n_features_in_ != len(self.spec.inputs):
            msg = f"{path}: not a random forest of {len(self.spec.inputs)} inputs"
            raise ModelError(msg)
        self._forest = forest
