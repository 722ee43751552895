"""Metrics of a model against the naive baseline, and leakage checks.

Belongs here: metrics of predictions out of sample, their baseline and bootstrap, the leakage checks. Does not belong
here: making the predictions (`model_zoo.training.trainer`), profit and loss (`backtester`).

Losses and areas are written out rather than taken from scikit-learn: the bootstrap needs them row by row, and a cycle
computes them thousands of times. Tests compare them with scikit-learn.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import rankdata

from backtester.statistics.bootstrap import clustered_means, interval
from features.array_types import FloatArray

BoolArray = npt.NDArray[np.bool_]

DRAWS: Final = 2_000
"""Bootstrap draws."""
CONFIDENCE: Final = 0.90
"""Two-sided; its lower end is a one-sided test at 5 %."""
HONEST_ACCURACY: Final = 0.70
"""No honest classifier of the next hour is surely above this."""
CHANCE_GAIN: Final = 0.005
"""Log-loss gain, in nats, that chance may give a model of shuffled labels: an accuracy of 55 % against one of 50 %."""
HONEST_AUC: Final = 0.80
"""No honest single feature separates up from down better than this."""


@dataclass(frozen=True)
class Metrics:
    """Classification metrics of predictions out of sample, the model's event being the positive class.

    Attributes
    ----------
    rows : int
        Predictions with a label.
    accuracy, precision, recall, f1 : float or None
        In [0, 1]; None where undefined (no row; the event never predicted; it never happened).
    log_loss : float or None
        Mean negative log-likelihood, in nats.
    baseline_accuracy : float or None
        Of the best constant guess: the share of the more frequent outcome in these rows.
    baseline_log_loss : float or None
        Of the guess that knows only how often the event happened in training.
    log_loss_gain, log_loss_gain_low, log_loss_gain_high : float or None
        Baseline less model, and its 90 % block-bootstrap interval; above 0 is better than the baseline.
    accuracy_gain, accuracy_gain_low, accuracy_gain_high : float or None
        Model less baseline, and its interval.
    better : bool
        Whether the log-loss gain is above 0 at the one-sided 5 % level.
    """

    rows: int
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    log_loss: float | None = None
    baseline_accuracy: float | None = None
    baseline_log_loss: float | None = None
    log_loss_gain: float | None = None
    log_loss_gain_low: float | None = None
    log_loss_gain_high: float | None = None
    accuracy_gain: float | None = None
    accuracy_gain_low: float | None = None
    accuracy_gain_high: float | None = None
    better: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the metrics as plain JSON values."""
        return asdict(self)


def measure(predictions: pl.DataFrame, base_rate: float | None, block: timedelta, seed: int) -> Metrics:
    """Return the metrics of out-of-sample predictions.

    Parameters
    ----------
    predictions : DataFrame
        `ts`, `probability` (Float64) and `label_event` (Boolean); rows without either are left out. Symbols pooled.
    base_rate : float or None
        The baseline's constant probability, from the training labels alone; see
        `model_zoo.models.calibration.base_rate`. None: the column `base_rate` holds one for each row, as where the
        holdouts of several cycles are pooled.
    block : timedelta
        Length of the bootstrap's blocks. Labels of neighbouring bars and of different symbols overlap, so whole
        stretches of time are drawn, with all symbols in them.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Metrics
        With 90 % intervals of a block bootstrap.
    """
    rows = predictions.drop_nulls(["probability", "label_event"]).sort("ts", maintain_order=True)
    if rows.is_empty():
        return Metrics(rows=0)
    probability, event = rows["probability"].to_numpy(), rows["label_event"].to_numpy().astype(np.bool_)
    naive = rows["base_rate"].to_numpy() if base_rate is None else np.full(rows.height, base_rate)
    guess = np.clip(naive, 1e-6, 1 - 1e-6)
    predicted_up = probability > 0.5  # noqa: PLR2004  # the more likely class
    right, loss = (predicted_up == event).astype(np.float64), _log_loss(probability, event)
    plain_right = (event == (event.mean() > 0.5)).astype(np.float64)  # noqa: PLR2004  # same
    plain_loss = _log_loss(guess, event)
    blocks = _blocks(rows["ts"], block)
    loss_low, loss_high = _interval(plain_loss - loss, blocks, seed)
    right_low, right_high = _interval(right - plain_right, blocks, seed)
    hits = int((predicted_up & event).sum())
    return Metrics(
        rows=rows.height,
        accuracy=float(right.mean()),
        precision=hits / int(predicted_up.sum()) if predicted_up.any() else None,
        recall=hits / int(event.sum()) if event.any() else None,
        f1=2 * hits / int(predicted_up.sum() + event.sum()) if predicted_up.any() or event.any() else None,
        log_loss=float(loss.mean()),
        baseline_accuracy=float(plain_right.mean()),
        baseline_log_loss=float(plain_loss.mean()),
        log_loss_gain=float((plain_loss - loss).mean()),
        log_loss_gain_low=loss_low,
        log_loss_gain_high=loss_high,
        accuracy_gain=float(right.mean() - plain_right.mean()),
        accuracy_gain_low=right_low,
        accuracy_gain_high=right_high,
        better=loss_low > 0,
    )


def paired_gain(
    predictions: pl.DataFrame, champion: str, challenger: str, block: timedelta, seed: int
) -> tuple[float, float]:
    """Return by how much a challenger's log-loss is lower than a champion's on the same rows.

    Parameters
    ----------
    predictions : DataFrame
        `ts`, `label_event` (Boolean) and the two columns of probabilities; no nulls among them, at least one row.
    champion, challenger : str
        Columns.
    block, seed
        As for `measure`.

    Returns
    -------
    tuple of float
        Mean difference, nats, above 0 where the challenger is better; and the lower end of its 90 % block-bootstrap
        interval, above 0 where it is better at the one-sided 5 % level.
    """
    rows = predictions.sort("ts", maintain_order=True)
    event = rows["label_event"].to_numpy().astype(np.bool_)
    less = _log_loss(rows[champion].to_numpy(), event) - _log_loss(rows[challenger].to_numpy(), event)
    return float(less.mean()), _interval(less, _blocks(rows["ts"], block), seed)[0]


@dataclass(frozen=True)
class Reliability:
    """Calibration of probabilities.

    Attributes
    ----------
    error : float or None
        Expected calibration error: the mean distance, over groups of equal size, between predicted and observed
        shares, in [0, 1]. With few independent hours it is large even for a perfect forecaster.
    slope, intercept : float or None
        Of a logistic regression of the event on the predicted log-odds (D. Cox 1958): 1 and 0 are calibrated, a slope
        below 1 is overconfident. None without variance, or where the two sides are apart.
    bins : tuple of (float, float, int)
        Mean predicted probability, observed share, and rows of each group, by rising probability.
    """

    error: float | None
    slope: float | None
    intercept: float | None
    bins: tuple[tuple[float, float, int], ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def reliability(predictions: pl.DataFrame, groups: int = 10) -> Reliability:
    """Return the calibration of predictions that were made out of sample.

    Parameters
    ----------
    predictions : DataFrame
        `probability` (Float64) and `label_event` (Boolean); rows without either are left out.
    groups : int
        Of equal size, by probability.
    """
    rows = predictions.drop_nulls(["probability", "label_event"]).sort("probability", maintain_order=True)
    if rows.is_empty():
        return Reliability(None, None, None, ())
    predicted, event = rows["probability"].to_numpy(), rows["label_event"].to_numpy().astype(np.float64)
    parts = [part for part in np.array_split(np.arange(rows.height), groups) if len(part)]
    bins = tuple((float(predicted[part].mean()), float(event[part].mean()), len(part)) for part in parts)
    error = sum(abs(mean - share) * count for mean, share, count in bins) / rows.height
    slope, intercept = _recalibration(predicted, event)
    return Reliability(error, slope, intercept, bins)


STEPS: Final = 50
"""Most steps of Newton's method; a fit that needs more has none."""
STEEPEST: Final = 100.0
"""A slope beyond this is that of two sides that are apart."""


def _recalibration(predicted: FloatArray, event: FloatArray) -> tuple[float | None, float | None]:
    """Return slope and intercept of the event on the log-odds, by Newton's method."""
    score = np.log(predicted / (1 - predicted))
    if np.ptp(score) < 1e-9 or np.ptp(event) == 0:  # noqa: PLR2004 - rounding
        return None, None
    columns = np.column_stack([score, np.ones_like(score)])
    theta = np.array([1.0, 0.0])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(columns @ theta, -500, 500)))
        weight = chance * (1 - chance)
        curvature = columns.T @ (columns * weight[:, None]) + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, columns.T @ (event - chance))
        theta = theta + step
        if not np.all(np.isfinite(theta)) or abs(theta[0]) > STEEPEST:
            return None, None
        if np.abs(step).max() < 1e-8:  # noqa: PLR2004 - converged
            return float(theta[0]), float(theta[1])
    return None, None


@dataclass(frozen=True)
class ValueMetrics:
    """Regression metrics of estimates out of sample, in the unit of the model's value.

    Attributes
    ----------
    rows : int
        Estimates with a label.
    r2 : float or None
        Coefficient of determination, 1 - sum of squared errors / sum of squares around the evaluated values' own mean;
        None where they have no variance. At most 1.
    mae : float or None
        Mean absolute error.
    baseline_r2, baseline_mae : float or None
        Of the naive constant: the training mean, or 0 for a price's move.
    skill, skill_low, skill_high : float or None
        1 - mean squared error / that of the naive constant, and its 90 % block-bootstrap interval; above 0 is better
        than the baseline.
    mae_gain, mae_gain_low, mae_gain_high : float or None
        Baseline's mean absolute error less the model's, and its interval.
    better : bool
        Whether the skill is above 0 at the one-sided 5 % level.
    """

    rows: int
    r2: float | None = None
    mae: float | None = None
    baseline_r2: float | None = None
    baseline_mae: float | None = None
    skill: float | None = None
    skill_low: float | None = None
    skill_high: float | None = None
    mae_gain: float | None = None
    mae_gain_low: float | None = None
    mae_gain_high: float | None = None
    better: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the metrics as plain JSON values."""
        return asdict(self)


def measure_values(estimates: pl.DataFrame, naive: float, block: timedelta, seed: int) -> ValueMetrics:
    """Return the metrics of out-of-sample estimates.

    Parameters
    ----------
    estimates : DataFrame
        `ts`, `value` and `label_value` (Float64); rows without either are left out. Symbols pooled.
    naive : float
        The baseline's constant, from the training labels alone.
    block, seed
        As for `measure`.

    Returns
    -------
    ValueMetrics
        With 90 % intervals of a block bootstrap.
    """
    rows = estimates.drop_nulls(["value", "label_value"]).sort("ts", maintain_order=True)
    if rows.is_empty():
        return ValueMetrics(rows=0)
    value, truth = rows["value"].to_numpy(), rows["label_value"].to_numpy()
    squared, plain_squared = (truth - value) ** 2, (truth - naive) ** 2
    gain = np.abs(truth - naive) - np.abs(truth - value)
    blocks = _blocks(rows["ts"], block)
    error, plain_error = _drawn(squared, blocks, seed), _drawn(plain_squared, blocks, seed)
    skills = 1 - error / np.maximum(plain_error, 1e-300)
    skill_low, skill_high = interval(skills, CONFIDENCE)
    mae_low, mae_high = _interval(gain, blocks, seed)
    around = float(np.mean((truth - truth.mean()) ** 2))
    return ValueMetrics(
        rows=rows.height,
        r2=1 - float(squared.mean()) / around if around > 0 else None,
        mae=float(np.abs(truth - value).mean()),
        baseline_r2=1 - float(plain_squared.mean()) / around if around > 0 else None,
        baseline_mae=float(np.abs(truth - naive).mean()),
        skill=1 - float(squared.mean()) / max(float(plain_squared.mean()), 1e-300),
        skill_low=skill_low,
        skill_high=skill_high,
        mae_gain=float(gain.mean()),
        mae_gain_low=mae_low,
        mae_gain_high=mae_high,
        better=skill_low > 0,
    )


@dataclass(frozen=True)
class Check:
    """One leakage check.

    Attributes
    ----------
    name : str
        What was checked.
    passed : bool
        False: the model must not be used.
    value, bound : float
        What was measured, and the limit that it must not exceed.
    detail : str
        One line for a person.
    """

    name: str
    passed: bool
    value: float
    bound: float
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return the check as plain JSON values."""
        return asdict(self)


def check_not_too_good(predictions: pl.DataFrame, block: timedelta, seed: int, bound: float = HONEST_ACCURACY) -> Check:
    """Fail a model whose out-of-sample accuracy is too high to be honest.

    Parameters
    ----------
    predictions, block, seed
        As for `measure`.
    bound : float
        The lower end of the accuracy's 90 % interval must not exceed it.

    Returns
    -------
    Check
        Passed unless the interval lies above the bound.
    """
    rows = predictions.drop_nulls(["probability", "label_event"]).sort("ts", maintain_order=True)
    right = ((rows["probability"] > 0.5) == rows["label_event"]).to_numpy().astype(np.float64)  # noqa: PLR2004  # as above
    low = _interval(right, _blocks(rows["ts"], block), seed)[0] if rows.height else 0.0
    mean = right.mean() if rows.height else 0.0
    detail = (
        f"accuracy {mean:.3f} on {rows.height} rows, at least {low:.3f} with 95 % confidence; honest up to {bound:g}"
    )
    return Check("accuracy is believable", low <= bound, low, bound, detail)


def check_single_features(rows: pl.DataFrame, inputs: tuple[str, ...], bound: float = HONEST_AUC) -> Check:
    """Fail a set of inputs if one of them alone separates the labels too well: it probably contains the label.

    Parameters
    ----------
    rows : DataFrame
        Training rows: the inputs and `label_event`.
    inputs : tuple of str
        The inputs.
    bound : float
        Largest area under the ROC curve of a single input, in either direction.

    Returns
    -------
    Check
        Names the strongest input.
    """
    labelled = rows.filter(pl.col("label_event").is_not_null())
    areas = {name: _auc(labelled[name].cast(pl.Float64), labelled["label_event"]) for name in inputs}
    worst = max(areas, key=lambda name: areas[name])
    detail = f"{worst} alone has AUC {areas[worst]:.3f}; honest up to {bound:g}"
    return Check("no input holds the label", areas[worst] <= bound, areas[worst], bound, detail)


def check_shuffled(tries: Iterable[Metrics]) -> Check:
    """Fail a set-up in which models trained on shuffled labels still predict, whatever the shuffle.

    Parameters
    ----------
    tries : iterable of Metrics
        Of such models on rows that they have not seen, against their true labels, each from a shuffle of its own;
        at least one. Read until one of them scores as chance: a leak helps after every shuffle, luck does not.
    """
    low, gain, count = float("inf"), 0.0, 0
    for metrics in tries:
        count += 1
        if (metrics.log_loss_gain_low or 0.0) < low:
            low, gain = metrics.log_loss_gain_low or 0.0, metrics.log_loss_gain or 0.0
        if low <= CHANCE_GAIN:
            break
    shuffles = "labels shuffled once" if count == 1 else f"labels shuffled {count} times, at its least,"
    detail = f"with {shuffles} the log-loss gain is {gain:.5f}, at least {low:.5f}"
    return Check("shuffled labels score as chance", low <= CHANCE_GAIN, low, CHANCE_GAIN, detail)


def check_apart(trained: pl.DataFrame, evaluated: pl.DataFrame) -> Check:
    """Fail a split in which a training label becomes known after the first evaluated decision.

    Parameters
    ----------
    trained, evaluated : DataFrame
        `label_known_at` of the training rows, `decided_at` of the evaluated ones.
    """
    if trained.is_empty() or evaluated.is_empty():
        return Check("training and holdout are apart", True, 0.0, 0.0, "one side is empty")
    last = cast("datetime", trained["label_known_at"].max())
    first = cast("datetime", evaluated["decided_at"].min())
    overlap = (last - first).total_seconds()
    detail = f"last training label known {last:%Y-%m-%d %H:%M}, first evaluated decision {first:%Y-%m-%d %H:%M}"
    return Check("training and holdout are apart", overlap <= 0, overlap, 0.0, detail)


def _log_loss(probability: FloatArray, up: BoolArray) -> FloatArray:
    return -np.log(np.where(up, probability, 1 - probability))


def _blocks(ts: pl.Series, block: timedelta) -> npt.NDArray[np.int64]:
    """Return the number of each row's block, counted from 0 without holes."""
    index = (ts.cast(pl.Int64) - ts.cast(pl.Int64).min()) // (block // timedelta(microseconds=1))
    return np.unique(index.to_numpy(), return_inverse=True)[1].astype(np.int64)


def _interval(values: FloatArray, blocks: npt.NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Return the bootstrap interval of the mean, drawing whole blocks."""
    return interval(_drawn(values, blocks, seed), CONFIDENCE)


def _drawn(values: FloatArray, blocks: npt.NDArray[np.int64], seed: int) -> FloatArray:
    """Return the means of `DRAWS` samples of whole blocks; the same samples for the same blocks and seed."""
    return clustered_means(values, blocks, seed=seed, draws=DRAWS)


def _auc(feature: pl.Series, up: pl.Series) -> float:
    """Return the area under the ROC curve, in whichever direction is larger; 0.5 where it is undefined."""
    finite = (feature.is_not_null() & feature.is_finite()).fill_null(False)
    x, y = feature.filter(finite).to_numpy(), up.filter(finite).to_numpy().astype(np.bool_)
    ups, downs = int(y.sum()), int((~y).sum())
    if not ups or not downs:
        return 0.5
    area = (rankdata(x)[y].sum() - ups * (ups + 1) / 2) / (ups * downs)
    return float(max(area, 1 - area))
