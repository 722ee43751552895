"""Direction: gradient-boosted trees (LightGBM) on whether the price will be higher a horizon later.

Belongs here: this model. Does not belong here: labels, folds, thresholds, files around the model.

Small trees, strong shrinkage and early stopping, because there is little to learn and much to be fooled by. One
thread and `deterministic`, so that the same rows and seed give the same model file, byte for byte.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np
import polars as pl

from features.bars import bar_length
from model_zoo.base import FloatArray, Model, ModelError, ModelSpec
from model_zoo.folds import Window, judged, learnable

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

SMALL_LEAF: Final = 20
"""At least so many leaves' worth of rows: with less data the leaves become smaller."""
LEAST_ROUNDS: Final = 30
MOST_ROUNDS: Final = 120
"""Bounds of early stopping: one day of judging is too noisy to be believed beyond them."""
PATIENCE: Final = 30
INNER_SHARE: Final = 0.2
"""Share of the training window, at its end, on which early stopping judges."""


class DirectionModel(Model):
    """LightGBM classifier of the sign of the forward return."""

    type = "direction"
    file = "model.txt"

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        unknown = sorted(set(spec.hyper) - set(DEFAULTS))
        if unknown:
            msg = f"{spec.name}: unknown hyper-parameter {', '.join(unknown)}; there are {', '.join(DEFAULTS)}"
            raise ModelError(msg)
        self._booster: lgb.Booster | None = None

    def fit(self, rows: pl.DataFrame) -> None:
        """See `Model.fit`: the number of trees by early stopping on the last fifth, then once more on all rows."""
        self._booster = self._boosted(rows, self._rounds(rows))

    def raw(self, matrix: FloatArray) -> FloatArray:
        """See `Model.raw`."""
        if self._booster is None:
            msg = f"{self.spec.name} is not trained; call train or load first"
            raise ModelError(msg)
        if not matrix.shape[0]:
            return np.empty(0)
        return np.asarray(self._booster.predict(matrix, raw_score=True, num_threads=1), dtype=np.float64)

    def write(self, path: Path) -> None:
        """See `Model.write`: LightGBM's own text format."""
        if self._booster is None:
            msg = f"{self.spec.name} is not trained; there is nothing to save"
            raise ModelError(msg)
        self._booster.save_model(str(path))

    def read(self, path: Path) -> None:
        """See `Model.read`."""
        try:
            booster = lgb.Booster(model_file=str(path))
        except lgb.basic.LightGBMError as error:
            msg = f"{path}: not a LightGBM model: {error}"
            raise ModelError(msg) from error
        if booster.num_feature() != len(self.spec.inputs):
            msg = f"{path}: made for {booster.num_feature()} inputs, its config names {len(self.spec.inputs)}"
            raise ModelError(msg)
        self._booster = booster

    def importance(self) -> pl.DataFrame:
        """Return what each input contributed: `feature`, `gain` (share of the total gain), largest first."""
        if self._booster is None:
            msg = f"{self.spec.name} is not trained; it has no importances"
            raise ModelError(msg)
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
        late = rows.filter(judged(Window(cut, whole.end), timeframe))
        if not late.height or early["label_up"].n_unique() < 2:  # noqa: PLR2004  # up and not up
            return LEAST_ROUNDS
        booster = self._boosted(early, MOST_ROUNDS, late)
        return max(LEAST_ROUNDS, booster.best_iteration)

    def _boosted(self, rows: pl.DataFrame, rounds: int, judge: pl.DataFrame | None = None) -> lgb.Booster:
        data = lgb.Dataset(self.matrix(rows), _target(rows), weight=_balance(rows), params={"verbosity": -1})
        sets = (
            []
            if judge is None
            else [lgb.Dataset(self.matrix(judge), _target(judge), weight=_balance(judge), reference=data)]
        )
        stop: list[Callable[..., Any]] = [] if judge is None else [lgb.early_stopping(PATIENCE, verbose=False)]
        return lgb.train(self._settings(rows.height), data, rounds, valid_sets=sets, callbacks=stop)

    def _settings(self, rows: int) -> dict[str, Any]:
        wanted = {**DEFAULTS, **self.spec.hyper}
        leaf = min(wanted["min_data_in_leaf"], max(5, rows // SMALL_LEAF))
        return {
            "objective": "binary",
            "metric": "binary_logloss",
            "seed": self.spec.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
            **wanted,
            "min_data_in_leaf": int(leaf),
        }


def _target(rows: pl.DataFrame) -> FloatArray:
    return rows["label_up"].cast(pl.Float64).to_numpy()


def _balance(rows: pl.DataFrame) -> FloatArray:
    """Weights that make both classes equal: the score says what the inputs add, the base rate is the calibration's."""
    up = _target(rows)
    share = np.clip(up.mean(), 0.01, 0.99)
    weights: FloatArray = np.where(up > 0, 0.5 / share, 0.5 / (1 - share))
    return weights
