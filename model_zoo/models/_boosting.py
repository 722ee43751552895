"""Gradient-boosted trees (LightGBM): what the models that use them share.

Belongs here: fitting, early stopping, the model file. Does not belong here: what is learned
(`model_zoo.models.direction`, `model_zoo.models.volatility`), labels, folds, thresholds.

Small trees, strong shrinkage and early stopping, since the signal is weak and noisy. One
thread and `deterministic`, so that the same rows and seed give the same model file, byte for byte.
"""

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

import lightgbm as lgb
import numpy as np
import polars as pl

from backtester.statistics.windows import Window
from features.array_types import FloatArray
from features.bars import bar_length
from model_zoo.datasets.folds import decided_in, learnable
from model_zoo.models._lightgbm_text import check_model_text
from model_zoo.models.base import Model, ModelError, ModelSpec, Range, weights_of

DEFAULTS: Final[dict[str, float]] = {
    "learning_rate": 0.03,
    "num_leaves": 4,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 20.0,
}
"""Hyper-parameters where the specification names none."""

RANGES: Final[dict[str, Range]] = {
    "learning_rate": Range(0.01, 0.1, log=True),
    "num_leaves": Range(2, 12, whole=True),
    "min_data_in_leaf": Range(50, 800, log=True, whole=True),
    "feature_fraction": Range(0.3, 1.0),
    "lambda_l2": Range(1, 200, log=True),
}

WHOLE: Final = ("num_leaves", "bagging_freq")
"""Hyper-parameters that LightGBM takes as whole numbers only."""

SMALL_LEAF: Final = 20
"""At least so many leaves' worth of rows: with less data the leaves become smaller."""
LEAST_ROUNDS: Final = 30
MOST_ROUNDS: Final = 120
"""Bounds of early stopping, since one day of evaluation is noisy."""
PATIENCE: Final = 30
INNER_SHARE: Final = 0.2
"""Share of the training window, at its end, on which early stopping judges."""


class Boosted(Model):
    """LightGBM with early stopping.

    Attributes
    ----------
    objective, metric, target : str
        LightGBM's loss, the metric of early stopping, and the target column.
    """

    file = "model.txt"
    library = "lightgbm"
    defaults = DEFAULTS
    ranges = RANGES
    objective: ClassVar[str]
    metric: ClassVar[str]
    target: ClassVar[str]

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self._booster: lgb.Booster | None = None

    @abstractmethod
    def class_weights(self, rows: pl.DataFrame) -> FloatArray:
        """Return the weights of the rows for class imbalance, shape (n_rows,)."""

    def fit(self, rows: pl.DataFrame) -> None:
        """See `Model.fit`: the number of trees by early stopping on the last fifth, then once more on all rows."""
        self._booster = self._boosted(rows, self._rounds(rows))

    def output(self, matrix: FloatArray) -> FloatArray:
        """Return the raw output of the trees, shape (n_rows,)."""
        if self._booster is None:
            raise self.untrained()
        if not matrix.shape[0]:
            return np.empty(0)
        return np.asarray(self._booster.predict(matrix, raw_score=True, num_threads=1), dtype=np.float64)

    def write(self, path: Path) -> None:
        """See `Model.write`: LightGBM's own text format."""
        if self._booster is None:
            raise self.untrained()
        self._booster.save_model(str(path))

    def read(self, path: Path) -> None:
        """See `Model.read`."""
        try:
            text = path.read_bytes().decode("ascii")
            check_model_text(text, len(self.spec.inputs), self.objective)
            self._booster = lgb.Booster(model_str=text)
        except (ValueError, lgb.basic.LightGBMError) as error:
            msg = f"{path}: not a LightGBM model of {len(self.spec.inputs)} inputs: {error}"
            raise ModelError(msg) from error

    def importance(self) -> pl.DataFrame:
        """Return what each input contributed: `feature`, `gain` (share of the total gain), largest first."""
        if self._booster is None:
            raise self.untrained()
        gain = self._booster.feature_importance("gain").astype(np.float64)
        share = gain / gain.sum() if gain.sum() > 0 else gain
        return pl.DataFrame({"feature": list(self.spec.inputs), "gain": share}).sort(
            "gain", "feature", descending=[True, False]
        )

    def _rounds(self, rows: pl.DataFrame) -> int:
        start, end = rows["ts"].min(), rows["label_known_at"].max()
        whole = Window(start, end)  # type: ignore[arg-type]  # of a non-empty column of times
        cut = whole.end - (whole.end - whole.start) * INNER_SHARE
        timeframe = self.spec.timeframe
        early = rows.filter(learnable(Window(whole.start, cut), timeframe, self.spec.horizon * bar_length(timeframe)))
        late = rows.filter(decided_in(Window(cut, whole.end), timeframe))
        if not late.height or early["label_event"].n_unique() < 2:  # noqa: PLR2004  # it happened and it did not
            return LEAST_ROUNDS
        booster = self._boosted(early, MOST_ROUNDS, late)
        return max(LEAST_ROUNDS, booster.best_iteration)

    def _boosted(self, rows: pl.DataFrame, rounds: int, judge: pl.DataFrame | None = None) -> lgb.Booster:
        data = self._dataset(rows)
        sets = [] if judge is None else [self._dataset(judge, data)]
        stop: list[Callable[..., Any]] = [] if judge is None else [lgb.early_stopping(PATIENCE, verbose=False)]
        return lgb.train(self._settings(rows.height), data, rounds, valid_sets=sets, callbacks=stop)

    def _dataset(self, rows: pl.DataFrame, reference: lgb.Dataset | None = None) -> lgb.Dataset:
        target = rows[self.target].cast(pl.Float64).to_numpy()
        weight = self.class_weights(rows) * weights_of(rows)
        params = {"verbosity": -1}
        return lgb.Dataset(self.matrix(rows), target, weight=weight, reference=reference, params=params)

    def _settings(self, rows: int) -> dict[str, Any]:
        wanted = self.hyper
        leaf = min(wanted["min_data_in_leaf"], max(5, rows // SMALL_LEAF))
        return {
            "objective": self.objective,
            "metric": self.metric,
            "seed": self.spec.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
            **wanted,
            **{name: int(wanted[name]) for name in WHOLE},
            "min_data_in_leaf": int(leaf),
        }
