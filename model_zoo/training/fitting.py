"""Fitting in a training window: the model, its calibration and its threshold.

Belongs here: labelled rows, the walk-forward inside the window, calibration and threshold on its predictions. Does not
belong here: what comes after the window (`model_zoo.training.trainer`: holdout, checks, trading), what a step does
(labels, folds, calibration, trading, the models).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import sqrt
from typing import Final

import numpy as np
import polars as pl

from backtester.simulation.costs import Costs
from backtester.statistics.windows import Window
from features.bars import bar_length
from features.feature_manager import FeatureManager
from features.steps import unexplained_steps
from model_zoo.datasets.folds import Fold, decided_in, learnable, walk_forward
from model_zoo.datasets.labels import with_barriers, with_labels
from model_zoo.datasets.sample_weights import with_uniqueness
from model_zoo.models.base import Model, ModelError, ModelSpec, Regressor
from model_zoo.models.calibration import Calibration, base_rate, fit_calibration, fit_values
from model_zoo.models.catalog import make
from model_zoo.serving.artifacts import version_of
from model_zoo.serving.model_strategy import CROSS, Threshold, Tradable, choose_gate, choose_threshold, strategy_of

_LOG: Final = logging.getLogger(__name__)

FOLDS: Final = 4
EMBARGO: Final = timedelta(hours=1)
"""Time that what is known at a label's end is given to fade."""


def rows_of(manager: FeatureManager, symbols: Sequence[str], spec: ModelSpec, window: Window) -> pl.DataFrame:
    """Return candles, inputs, labels, targets and weights of every bar decided in a window.

    Parameters
    ----------
    manager : FeatureManager
        Where candles and features come from.
    symbols : sequence of str
        Pooled.
    spec : ModelSpec
        Inputs, label and timeframe.
    window : Window
        Of the decisions.

    Returns
    -------
    DataFrame
        As `fit` takes them. A symbol with an unexplained price step (`features.steps`) in the window is left out with a
        warning, as `evaluate` does, unless the manager's source lists it in `real_steps`.

    Raises
    ------
    ModelError
        If every symbol has such a step.
    """
    model = make(spec)
    # a decision at the window's start is made on the bar that has just closed
    start = window.start - bar_length(spec.timeframe)
    wanted = list(spec.reads if model.directional else dict.fromkeys((*spec.reads, CROSS)))
    frame = _without_steps(manager.window(list(symbols), spec.timeframe, wanted, start, window.end), manager, spec)
    labelled = with_labels(frame, spec.timeframe, spec.horizon)
    if spec.barrier:
        width = spec.barrier * sqrt(spec.horizon) * pl.col(spec.scale)
        labelled = with_barriers(labelled, spec.timeframe, spec.horizon, width, spec.round_trip)
    aimed = model.with_targets(labelled)
    return with_uniqueness(aimed, spec.timeframe, spec.horizon)


def _without_steps(frame: pl.DataFrame, manager: FeatureManager, spec: ModelSpec) -> pl.DataFrame:
    """Return the bars of the symbols whose prices do not step: another unit would be learned as a move."""
    stepped = unexplained_steps(frame, spec.timeframe, getattr(manager.source, "real_steps", frozenset()))
    if not stepped:
        return frame
    steps = "; ".join(str(step) for step in stepped)
    kept = frame.filter(~pl.col("symbol").is_in({step.symbol for step in stepped}))
    if kept.is_empty():
        msg = (
            f"{spec.name}: every symbol has an unexplained price step: {steps}; pass FrameSource the real_steps or "
            "candles of one unit"
        )
        raise ModelError(msg)
    _LOG.warning("%s learns nothing of symbols with a price step that nobody called real: %s", spec.name, steps)
    return kept


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A model with everything that its training window determines.

    Attributes
    ----------
    model : Model
        Fitted on the whole window, calibrated out of fold.
    threshold : Threshold
        Chosen out of fold.
    version : str
        Of model file and configuration.
    base_rate, base_value : float
        Constant predictions of the baselines: the event's rate and, for regressors, the mean value.
    training_rows, out_of_fold : DataFrame
        The training rows, and the predictions on the validation folds.
    folds : tuple of Fold
        The walk-forward.
    fold_models : tuple of Model
        Of each fold, with the calibration of the whole.
    """

    model: Model
    threshold: Threshold
    version: str
    base_rate: float
    base_value: float
    training_rows: pl.DataFrame
    out_of_fold: pl.DataFrame
    folds: tuple[Fold, ...]
    fold_models: tuple[Model, ...]

    def as_strategy(self) -> Tradable:
        """Return the strategy that trades this model."""
        return strategy_of(self.model.spec.name, self.model, self.threshold, self.version)


def fit(
    rows: pl.DataFrame,
    spec: ModelSpec,
    train: Window,
    *,
    costs: Costs | None = None,
    folds: int = FOLDS,
    embargo: timedelta = EMBARGO,
) -> FittedModel:
    """Fit a model in a training window, calibrate it and choose its threshold; nothing after the window is read.

    Parameters
    ----------
    rows : DataFrame
        As `rows_of` gives them; may reach beyond the window.
    spec, costs, folds, embargo
        As for `train_cycle`.
    train : Window
        Labels count only where they were known an embargo before its end.

    Returns
    -------
    FittedModel
        The model and its out-of-fold predictions.

    Raises
    ------
    ModelError
        If the window holds too little. A fold without both classes is left out.
    """
    training_rows = rows.filter(learnable(train, spec.timeframe, embargo), pl.col("label_event").is_not_null())
    steps = _with_both_classes(rows, spec, walk_forward(train, folds, embargo))
    models = [_trained_on(rows, spec, step) for step in steps]
    raw = pl.concat(_raw(model, evaluation_rows(rows, spec, step)) for model, step in zip(models, steps, strict=True))
    model = make(spec)
    model.train(training_rows)
    naive = naive_of(model, training_rows)
    model.calibration = _calibration(model, raw)
    for fold_model in models:
        fold_model.calibration = model.calibration
    out_of_fold = raw.with_columns(
        pl.Series("probability", model.calibration.apply(raw["raw"].to_numpy()), pl.Float64),
        (pl.col("estimate") * model.calibration.value_slope + model.calibration.value_intercept).alias("value"),
    ).drop("raw", "estimate")
    round_trip = (costs or Costs()).round_trip
    threshold = (
        choose_threshold(out_of_fold, round_trip)
        if model.directional
        else choose_gate(model, out_of_fold, naive.rate, round_trip)
    )
    version = version_of(model, threshold)
    return FittedModel(
        model, threshold, version, naive.rate, naive.value, training_rows, out_of_fold, tuple(steps), tuple(models)
    )


@dataclass(frozen=True)
class Naive:
    """Constant predictions of the baselines: the event's rate and, for regressors, the mean value."""

    rate: float
    value: float


def naive_of(model: Model, training_rows: pl.DataFrame) -> Naive:
    """Return the baselines of a model from its training rows alone."""
    rate = base_rate(training_rows["label_event"].to_numpy(), model.spec.horizon, model.prior)
    level = 0.0 if model.directional else float(training_rows["label_value"].to_numpy().mean())
    return Naive(rate, level)


def evaluation_rows(rows: pl.DataFrame, spec: ModelSpec, fold: Fold) -> pl.DataFrame:
    """Return the rows of a fold on which its model is evaluated.

    Parameters
    ----------
    rows : DataFrame
        As `rows_of` gives them.
    spec : ModelSpec
        Of the model.
    fold : Fold
        A step of the walk-forward.

    Returns
    -------
    DataFrame
        Sound rows of the test window.
    """
    return rows.filter(decided_in(fold.test, spec.timeframe), pl.col("flag").is_null())


def _with_both_classes(rows: pl.DataFrame, spec: ModelSpec, folds: list[Fold]) -> list[Fold]:
    """Return the folds whose training rows contain both classes, at least the last fold.

    The first fold trains on a day or two, in which the volatility of a symbol may only fall.
    """
    labels = [
        rows.filter(learnable(fold.train, spec.timeframe, fold.embargo), pl.col("flag").is_null()) for fold in folds
    ]
    both = [training_rows["label_event"].drop_nulls().n_unique() > 1 for training_rows in labels]
    return [fold for fold, has_both in zip(folds, both, strict=True) if has_both] or folds[-1:]


def _trained_on(rows: pl.DataFrame, spec: ModelSpec, fold: Fold) -> Model:
    """Return the model of a fold, trained on the fold's training window alone."""
    model = make(spec)
    model.train(rows.filter(learnable(fold.train, spec.timeframe, fold.embargo)))
    return model


def _raw(model: Model, part: pl.DataFrame) -> pl.DataFrame:
    """Return a fold's raw scores and estimates with its labels."""
    matrix = model.matrix(part)
    estimate = model.estimate(matrix) if isinstance(model, Regressor) else np.full(part.height, np.nan)
    kept = ["symbol", "ts", "label_event", "label_value", "label_return", *([] if model.directional else [CROSS])]
    return part.select(
        *kept,
        pl.Series("raw", model.raw(matrix), pl.Float64),
        pl.Series("estimate", estimate, pl.Float64).fill_nan(None),
    )


def _calibration(model: Model, raw: pl.DataFrame) -> Calibration:
    """Return the calibration fitted on out-of-fold predictions."""
    labelled = raw.filter(pl.col("label_event").is_not_null())
    overlap = float(model.spec.horizon)
    fitted = fit_calibration(labelled["raw"].to_numpy(), labelled["label_event"].to_numpy(), overlap, model.prior)
    if not model.regresses:
        return fitted
    valued = labelled.drop_nulls(["estimate", "label_value"])
    slope, intercept = fit_values(
        valued["estimate"].to_numpy(),
        valued["label_value"].to_numpy(),
        overlap,
        model.prior,
        centred=not model.directional,
    )
    return replace(fitted, value_slope=slope, value_intercept=intercept)


def predicted(model: Model, rows: pl.DataFrame) -> pl.DataFrame:
    """Return `symbol, ts, probability, value, label_event, label_value` of rows; value null but for regressors."""
    value = model.predict_value(rows) if isinstance(model, Regressor) else pl.lit(None, pl.Float64).alias("value")
    return rows.select("symbol", "ts", model.predict(rows), value, "label_event", "label_value")
