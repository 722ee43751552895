"""What a training window decides: the model, its calibration and its threshold.

Belongs here: labelled rows, the walk forward inside the window, calibration and threshold on its predictions. Does not
belong here: what comes after the window (`model_zoo.trainer`: holdout, checks, trading), what a step does (labels,
folds, calibration, trading, the models).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import sqrt
from typing import Final

import numpy as np
import polars as pl

from backtester.costs import Costs
from features.bars import bar_length
from features.feature_manager import FeatureManager
from model_zoo.artifacts import version_of
from model_zoo.base import Model, ModelSpec, Regressor
from model_zoo.calibration import Calibration, base_rate, fit_calibration, fit_values
from model_zoo.catalog import make
from model_zoo.folds import Fold, Window, judged, learnable, walk_forward
from model_zoo.labels import with_barriers, with_labels
from model_zoo.trading import CROSS, Threshold, Tradable, choose_gate, choose_threshold, strategy_of
from model_zoo.weights import with_uniqueness

FOLDS: Final = 4
EMBARGO: Final = timedelta(hours=1)
"""Time that what is known at a label's end is given to fade."""


def rows_of(manager: FeatureManager, symbols: Sequence[str], spec: ModelSpec, window: Window) -> pl.DataFrame:
    """Return candles, inputs, labels, targets and weights of every bar decided in a window, as `learn` takes them."""
    model = make(spec)
    # a decision at the window's start is made on the bar that has just closed
    start = window.start - bar_length(spec.timeframe)
    wanted = list(spec.reads if model.directional else dict.fromkeys((*spec.reads, CROSS)))
    frame = manager.window(list(symbols), spec.timeframe, wanted, start, window.end)
    labelled = with_labels(frame, spec.timeframe, spec.horizon)
    if spec.barrier:
        width = spec.barrier * sqrt(spec.horizon) * pl.col(spec.scale)
        labelled = with_barriers(labelled, spec.timeframe, spec.horizon, width, spec.round_trip)
    aimed = model.with_targets(labelled)
    return with_uniqueness(aimed, spec.timeframe, spec.horizon)


@dataclass(frozen=True, eq=False)
class Learned:
    """A model with all that its training window decides.

    Attributes
    ----------
    model : Model
        Fitted on the whole window, calibrated out of fold.
    threshold : Threshold
        Chosen out of fold.
    version : str
        Of model file and configuration.
    base_rate, base_value : float
        What the baselines say: the event's rate and, of regressors, the constant value.
    learned, out_of_fold : DataFrame
        The training rows, and what was predicted on the validation folds.
    folds : tuple of Fold
        The walk forward.
    fold_models : tuple of Model
        Of each fold, with the calibration of the whole.
    """

    model: Model
    threshold: Threshold
    version: str
    base_rate: float
    base_value: float
    learned: pl.DataFrame
    out_of_fold: pl.DataFrame
    folds: tuple[Fold, ...]
    fold_models: tuple[Model, ...]

    def as_strategy(self) -> Tradable:
        """Return the strategy that trades this model."""
        return strategy_of(self.model.spec.name, self.model, self.threshold, self.version)


def learn(
    rows: pl.DataFrame,
    spec: ModelSpec,
    train: Window,
    *,
    costs: Costs | None = None,
    folds: int = FOLDS,
    embargo: timedelta = EMBARGO,
) -> Learned:
    """Fit, calibrate and set the threshold of one model in a training window; nothing after it is read.

    Parameters
    ----------
    rows : DataFrame
        As `rows_of` gives them; may reach beyond the window.
    spec, costs, folds, embargo
        As for `train_cycle`.
    train : Window
        Labels count only where they were known an embargo before its end.

    Raises
    ------
    ModelError
        If the window holds too little. A fold without both classes is left out.
    """
    learned = rows.filter(learnable(train, spec.timeframe, embargo), pl.col("label_event").is_not_null())
    steps = _taught(rows, spec, walk_forward(train, folds, embargo))
    models = [_trained_on(rows, spec, step) for step in steps]
    raw = pl.concat(_raw(model, judged_rows(rows, spec, step)) for model, step in zip(models, steps, strict=True))
    model = make(spec)
    model.train(learned)
    naive = naive_of(model, learned)
    model.calibration = _calibration(model, raw)
    for each in models:
        each.calibration = model.calibration
    out_of_fold = raw.with_columns(
        pl.Series("probability", model.calibration.apply(raw["raw"].to_numpy()), pl.Float64),
        (pl.col("estimate") * model.calibration.value_slope + model.calibration.value_intercept).alias("value"),
    ).drop("raw", "estimate")
    round_trip = round_trip_of(costs or Costs())
    threshold = (
        choose_threshold(out_of_fold, round_trip)
        if model.directional
        else choose_gate(model, out_of_fold, naive.rate, round_trip)
    )
    version = version_of(model, threshold)
    return Learned(
        model, threshold, version, naive.rate, naive.value, learned, out_of_fold, tuple(steps), tuple(models)
    )


@dataclass(frozen=True)
class Naive:
    """What the baselines say: the event's rate and, of regressors, the constant value."""

    rate: float
    value: float


def naive_of(model: Model, learned: pl.DataFrame) -> Naive:
    """Return the baselines of a model from its training rows alone."""
    rate = base_rate(learned["label_event"].to_numpy(), model.spec.horizon, model.prior)
    level = 0.0 if model.directional else float(learned["label_value"].to_numpy().mean())
    return Naive(rate, level)


def judged_rows(rows: pl.DataFrame, spec: ModelSpec, fold: Fold) -> pl.DataFrame:
    """Return the rows of a fold on which its model is judged."""
    return rows.filter(judged(fold.validation, spec.timeframe), pl.col("flag").is_null())


def _taught(rows: pl.DataFrame, spec: ModelSpec, steps: list[Fold]) -> list[Fold]:
    """Return the folds that hold both classes to learn from, at least the last.

    A first fold is a day or two: in these the volatility of one symbol may do nothing but fall.
    """
    labels = [
        rows.filter(learnable(each.train, spec.timeframe, each.embargo), pl.col("flag").is_null()) for each in steps
    ]
    both = [each["label_event"].drop_nulls().n_unique() > 1 for each in labels]
    return [step for step, taught in zip(steps, both, strict=True) if taught] or steps[-1:]


def _trained_on(rows: pl.DataFrame, spec: ModelSpec, fold: Fold) -> Model:
    """Return the model of a fold, which learned only from what came before what it is judged on."""
    model = make(spec)
    model.train(rows.filter(learnable(fold.train, spec.timeframe, fold.embargo)))
    return model


def _raw(model: Model, part: pl.DataFrame) -> pl.DataFrame:
    """Return a fold's raw scores and estimates beside what happened."""
    matrix = model.matrix(part)
    estimate = model.estimate(matrix) if isinstance(model, Regressor) else np.full(part.height, np.nan)
    kept = ["symbol", "ts", "label_event", "label_value", "label_return", *([] if model.directional else [CROSS])]
    return part.select(
        *kept,
        pl.Series("raw", model.raw(matrix), pl.Float64),
        pl.Series("estimate", estimate, pl.Float64).fill_nan(None),
    )


def _calibration(model: Model, raw: pl.DataFrame) -> Calibration:
    """Return the calibration fitted on what was predicted out of fold."""
    known = raw.filter(pl.col("label_event").is_not_null())
    overlap = float(model.spec.horizon)
    fitted = fit_calibration(known["raw"].to_numpy(), known["label_event"].to_numpy(), overlap, model.prior)
    if not model.regresses:
        return fitted
    valued = known.drop_nulls(["estimate", "label_value"])
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


def round_trip_of(costs: Costs) -> float:
    """Return fees and slippage of going in and out, a fraction of notional."""
    return 2 * (costs.taker_fee + costs.slippage)
