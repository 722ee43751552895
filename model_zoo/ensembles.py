"""Ensembles: several directional models of one timeframe combined into one prediction.

Belongs here: how members are combined, which combinations are tried on the holdout, their trading. Does not belong
here: training members (`model_zoo.training.trainer`), files (`model_zoo.serving.ensemble_artifacts`), ranks
(`backtester.evaluation.ranking`).

Weights, calibration and threshold are fitted on the members' out-of-fold predictions, all from before the holdout.
Combinations are compared on the same data, each half predicted by the rule that was fitted on the other half. Only the
best few, a budget, are run on the holdout, and each of these is a trial.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import minimize
from scipy.special import expit, logit

from backtester.evaluation.evaluate import Evaluation, evaluate
from backtester.simulation.costs import Costs
from backtester.statistics.windows import Window
from features.array_types import FloatArray
from features.bars import DEFAULT_TIMEFRAMES, Timeframe, bar_length
from features.feature_manager import FeatureManager
from model_zoo.datasets.folds import decided_at
from model_zoo.datasets.labels import with_labels
from model_zoo.evaluation.metrics import Metrics, measure
from model_zoo.models.base import Model, ModelError, thinned
from model_zoo.models.calibration import DIRECTION, SLOPE_PRECISION, Calibration, fit_calibration
from model_zoo.serving.model_strategy import Threshold, choose_threshold

Method = Literal["weighted_avg", "voting", "stacking"]
METHODS: Final[tuple[Method, ...]] = ("weighted_avg", "voting", "stacking")
BUDGET: Final = 9
"""Combinations run on a cycle's holdout: each further one raises what luck alone would show."""
MOST_ROWS: Final = 4_000
"""Rows out of fold that weights are fitted on; labels of neighbours overlap almost wholly."""
BLOCK: Final = timedelta(hours=2)
"""Block of the bootstraps, as in `model_zoo.training.trainer`."""

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Member:
    """A trained directional model with its out-of-fold predictions.

    Attributes
    ----------
    model, threshold, version
        As of its artifact.
    base_rate : float
        Prediction of its naive baseline.
    out_of_fold : DataFrame
        `symbol, ts, probability, label_event, label_return` of the validation folds; empty where it only predicts.
    """

    model: Model
    threshold: Threshold
    version: str
    base_rate: float
    out_of_fold: pl.DataFrame

    @property
    def name(self) -> str:
        """As of the model."""
        return self.model.spec.name


@dataclass(frozen=True)
class Rule:
    """How members' probabilities become one.

    Attributes
    ----------
    method : str
        'weighted_avg': the mean of probabilities by weight. 'voting': each member beyond its own threshold votes up
        or down, the share of votes is calibrated. 'stacking': a logistic regression on the members' log-odds, drawn
        to their plain mean, no weight negative.
    weights : tuple of float
        One a member; they sum to 1 but for stacking.
    calibration : Calibration
        Slope of the votes, and the intercept of votes or stack.
    """

    method: Method
    weights: tuple[float, ...]
    calibration: Calibration

    def apply(self, probability: FloatArray, distances: FloatArray) -> FloatArray:
        """Return P(up) of probabilities of shape (n_rows, n_members); NaN where one is unknown.

        Parameters
        ----------
        probability : ndarray of shape (n_rows, n_members)
            Of the members, calibrated.
        distances : ndarray of shape (n_members,)
            Their thresholds.
        """
        weights = np.asarray(self.weights)
        if self.method == "weighted_avg":
            mean: FloatArray = probability @ weights
            return mean
        if self.method == "voting":
            return self.calibration.apply(_votes(probability, distances) @ weights)
        stacked: FloatArray = expit(logit(probability) @ weights + self.calibration.intercept)
        return stacked


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Members, the rule that joins them, and the threshold beyond which the whole trades.

    Attributes
    ----------
    members : tuple of Member
        At least two, of one timeframe and horizon.
    rule : Rule
        Fitted out of fold.
    threshold : Threshold
        Chosen out of fold.
    """

    members: tuple[Member, ...]
    rule: Rule
    threshold: Threshold

    def __post_init__(self) -> None:
        spans = {(member.model.spec.timeframe, member.model.spec.horizon) for member in self.members}
        sided = all(member.model.directional and not member.model.spec.barrier for member in self.members)
        if len(self.members) < 2 or len(spans) > 1 or not sided:  # noqa: PLR2004 - one model is no ensemble
            names = ", ".join(member.name for member in self.members)
            msg = f"an ensemble needs two or more directional models of one timeframe, not {names or 'none'}"
            raise ModelError(msg)

    @property
    def timeframe(self) -> Timeframe:
        """Of every member."""
        return self.members[0].model.spec.timeframe

    @property
    def horizon(self) -> int:
        """Of every member, bars."""
        return self.members[0].model.spec.horizon

    @property
    def name(self) -> str:
        """Identity across cycles, as `stacking_direction_price_5m`."""
        return f"{self.rule.method}_{'_'.join(member.model.spec.type for member in self.members)}_{self.timeframe}"

    @property
    def version(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of everything that decides a prediction."""
        return hashlib.sha256(json.dumps(self.definition(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def base_rate(self) -> float:
        """The naive probability: the mean of the members'."""
        return float(np.mean([member.base_rate for member in self.members]))

    def definition(self) -> dict[str, Any]:
        """Return everything that decides a prediction, as plain JSON values."""
        return {
            "name": self.name,
            "timeframe": self.timeframe,
            "members": [member.name for member in self.members],
            "versions": [member.version for member in self.members],
            "method": self.rule.method,
            "weights": list(self.rule.weights),
            "calibration": asdict(self.rule.calibration),
            "threshold": asdict(self.threshold),
        }

    def features(self) -> list[str]:
        """Return every input of every member, each once."""
        return list(dict.fromkeys(name for member in self.members for name in member.model.spec.inputs))

    def predict(self, frame: pl.DataFrame) -> pl.Series:
        """Return P(up) for every row, null where a member predicts nothing; see `Model.predict`."""
        predictions = [member.model.predict(frame).to_numpy() for member in self.members]
        return self._joined(np.column_stack(predictions))

    def _joined(self, probability: FloatArray) -> pl.Series:
        distances = np.array([member.threshold.distance for member in self.members])
        return pl.Series("probability", self.rule.apply(probability, distances), pl.Float64).fill_nan(None)


Fitted = tuple[Ensemble, Metrics]
"""An ensemble fitted out of fold, and how well its kind of rule did on the half it was not fitted on."""


class EnsembleStrategy:
    """An ensemble, as the backtester sees a strategy.

    Parameters
    ----------
    ensemble : Ensemble
        Trades on its own timeframe only, like a directional model: see
        `model_zoo.serving.model_strategy.ModelStrategy`.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.name = ensemble.name
        self.version = ensemble.version
        self.timeframes: tuple[Timeframe, ...] = (ensemble.timeframe,)
        self._ensemble = ensemble

    def features(self, timeframe: Timeframe) -> list[str]:
        """Return the members' inputs."""
        if timeframe not in self.timeframes:
            msg = f"{self.name} trades on {self.timeframes[0]}, not on {timeframe}"
            raise ValueError(msg)
        return self._ensemble.features()

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return entries beyond the threshold, each held for the horizon; row t depends on row t only."""
        edge = self._ensemble.predict(frame) - self._ensemble.threshold.level
        distance = self._ensemble.threshold.distance
        return frame.select("symbol", "ts").with_columns(
            (edge > distance).fill_null(value=False).alias("long_entry"),
            (edge < -distance).fill_null(value=False).alias("short_entry"),
            pl.lit(self._ensemble.horizon, pl.Int32).alias("time_stop"),
        )


@dataclass(frozen=True, eq=False)
class Tried:
    """An ensemble that was run on a holdout.

    Attributes
    ----------
    ensemble : Ensemble
        Fitted before it.
    validation, metrics : Metrics
        Across the halves of the validation folds; on the holdout.
    predictions : DataFrame
        `symbol, ts, probability, label_event` of the holdout.
    evaluation : Evaluation
        The holdout, traded.
    """

    ensemble: Ensemble
    validation: Metrics
    metrics: Metrics
    predictions: pl.DataFrame
    evaluation: Evaluation


def search(
    manager: FeatureManager,
    symbols: Sequence[str],
    holdout: Window,
    members: Sequence[Member],
    *,
    costs: Costs | None = None,
    budget: int = BUDGET,
    seed: int = 0,
) -> list[Tried]:
    """Return the most promising ensembles with their results on the holdout, best expected first.

    Parameters
    ----------
    manager : FeatureManager
        As of the holdout's end.
    symbols : sequence of str
        Pooled.
    holdout : Window
        That no member has seen.
    members : sequence of Member
        Directional models; those of one timeframe are combined with each other.
    costs : Costs, optional
        Of the backtest, and of the choice of thresholds.
    budget : int
        Ensembles run on the holdout.
    seed : int
        Of the bootstraps.

    Returns
    -------
    list of Tried
        At most `budget`.

    Notes
    -----
    No look-ahead: which ensembles are run, and everything in them, is decided on predictions out of fold from before
    the holdout.
    """
    paid = costs or Costs()
    fitted = [fit(*candidate, paid.round_trip, seed) for candidate in candidates(members)]
    return run_on_holdout(manager, symbols, holdout, most_promising(fitted, budget), costs=paid, seed=seed)


def candidates(members: Sequence[Member]) -> list[tuple[tuple[Member, ...], Method]]:
    """Return what `search` fits: every combination by every method."""
    return [(group, method) for group in combinations(members) for method in METHODS]


def most_promising(fitted: Sequence[Fitted], budget: int = BUDGET) -> list[Fitted]:
    """Return the ensembles that `search` runs on the holdout, by falling gain out of fold."""
    return sorted(fitted, key=lambda pair: (-(pair[1].log_loss_gain or 0.0), pair[0].name))[: max(budget, 0)]


def run_on_holdout(
    manager: FeatureManager,
    symbols: Sequence[str],
    holdout: Window,
    chosen: Sequence[Fitted],
    *,
    costs: Costs,
    seed: int = 0,
) -> list[Tried]:
    """Run fitted ensembles on the holdout; see `search`.

    Parameters
    ----------
    manager, symbols, holdout, costs, seed
        As for `search`.
    chosen : sequence of (Ensemble, Metrics)
        As `most_promising` returns them.

    Returns
    -------
    list of Tried
        In the order of `chosen`.
    """
    tried = []
    for timeframe in DEFAULT_TIMEFRAMES:
        same = [ensemble for ensemble in chosen if ensemble[0].timeframe == timeframe]
        if same:
            tried += _run(manager, symbols, holdout, same, costs, seed)
    place = {ensemble.name: number for number, (ensemble, _) in enumerate(chosen)}
    return sorted(tried, key=lambda result: place[result.ensemble.name])


def combinations(members: Sequence[Member]) -> list[tuple[Member, ...]]:
    """Return every group of two or more members of one timeframe, in the order of their names."""
    groups = []
    for timeframe in DEFAULT_TIMEFRAMES:
        same = sorted(
            (member for member in members if member.model.spec.timeframe == timeframe), key=lambda member: member.name
        )
        groups += [group for size in range(2, len(same) + 1) for group in itertools.combinations(same, size)]
    return groups


def fit(members: Sequence[Member], method: Method, round_trip: float, seed: int = 0) -> Fitted:
    """Fit an ensemble out of fold, and measure its rule on the half that it was not fitted on.

    Parameters
    ----------
    members : sequence of Member
        Two or more of one timeframe.
    method : str
        One of `METHODS`.
    round_trip : float
        Fees and slippage of going in and out, a fraction of notional.
    seed : int
        Of the bootstrap.

    Returns
    -------
    tuple of (Ensemble, Metrics)
        The ensemble, and its metrics across the two halves.
    """
    spec = members[0].model.spec
    whole = _together(members)
    rows = thinned(whole, MOST_ROWS)
    overlap = max(1.0, spec.horizon * rows.height / max(whole.height, 1))
    names = [f"member_{number}" for number in range(len(members))]
    distances = np.array([member.threshold.distance for member in members])
    rates = np.array([member.base_rate for member in members])

    def rule_of(part: pl.DataFrame) -> Rule:
        event = part["label_event"].to_numpy().astype(np.bool_)
        return _rule(method, part.select(names).to_numpy(), event, distances, rates, overlap)

    early, late = _halves(rows, spec.horizon * bar_length(spec.timeframe))
    crossed = pl.concat(
        applied_to.with_columns(
            pl.Series(
                "probability", rule_of(fitted_on).apply(applied_to.select(names).to_numpy(), distances), pl.Float64
            )
        )
        for fitted_on, applied_to in ((late, early), (early, late))
    )
    ensemble = Ensemble(tuple(members), rule_of(rows), choose_threshold(crossed, round_trip))
    return ensemble, measure(crossed, ensemble.base_rate, BLOCK, seed)


def _together(members: Sequence[Member]) -> pl.DataFrame:
    """Return the rows that every member predicted out of fold: what happened, and `member_<i>`."""
    joined = members[0].out_of_fold.select(
        "symbol", "ts", "label_event", "label_return", pl.col("probability").alias("member_0")
    )
    for number, member in enumerate(members[1:], 1):
        other = member.out_of_fold.select("symbol", "ts", pl.col("probability").alias(f"member_{number}"))
        joined = joined.join(other, on=["symbol", "ts"], how="inner", validate="1:1")
    complete = joined.drop_nulls().sort("ts", "symbol")
    if complete["ts"].n_unique() < 2 or complete["label_event"].n_unique() < 2:  # noqa: PLR2004 - two halves, two classes
        names = ", ".join(member.name for member in members)
        msg = f"{names}: too few common out-of-fold predictions; train them on the same window"
        raise ModelError(msg)
    return complete


def _halves(rows: pl.DataFrame, gap: timedelta) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows before and after the middle of their time, purged of labels that reach across it."""
    times = rows["ts"].unique().sort()
    middle = times[len(times) // 2]
    early, late = rows.filter(pl.col("ts") + gap < middle), rows.filter(pl.col("ts") >= middle)
    return (early, late) if early.height else (rows.filter(pl.col("ts") < middle), late)


def _rule(
    method: Method, probability: FloatArray, event: BoolArray, distances: FloatArray, rates: FloatArray, overlap: float
) -> Rule:
    count = probability.shape[1]
    equal = (1 / count,) * count
    if method == "voting":
        votes = _votes(probability, distances).mean(axis=1)
        return Rule(method, equal, fit_calibration(votes, event, overlap))
    if method == "stacking":
        weights, intercept = _stack(logit(probability), event, overlap)
        return Rule(method, tuple(map(float, weights)), Calibration(1.0, intercept))
    naive, losses = (_losses(forecast, event) for forecast in (np.broadcast_to(rates, probability.shape), probability))
    gains = np.maximum(naive - losses, 0.0)
    weights = gains / gains.sum() if gains.sum() > 0 else np.array(equal)
    return Rule(method, tuple(map(float, weights)), Calibration())


def _losses(probability: FloatArray, event: BoolArray) -> FloatArray:
    """Return each member's mean log-loss."""
    losses: FloatArray = -np.log(np.where(event[:, None], probability, 1 - probability)).mean(axis=0)
    return losses


def _votes(probability: FloatArray, distances: FloatArray) -> FloatArray:
    """Return 1, -1 or 0 for each member beyond its threshold or not; NaN where it predicts nothing."""
    edge = probability - 0.5
    return np.where(np.isnan(edge), np.nan, np.sign(edge) * (np.abs(edge) > distances))


def _stack(score: FloatArray, event: BoolArray, overlap: float) -> tuple[FloatArray, float]:
    """Return weights and intercept of greatest posterior probability; the prior is the mean of the scores."""
    count = score.shape[1]
    target, prior = event.astype(np.float64), np.full(count, 1 / count)

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        weights, intercept = theta[:-1], theta[-1]
        z = score @ weights + intercept
        error = (expit(z) - target) / overlap
        away, level = weights - prior, DIRECTION.intercept_precision
        value = float(np.sum(np.logaddexp(0.0, z) - target * z)) / overlap
        penalty = (SLOPE_PRECISION * float(away @ away) + level * intercept**2) / 2
        return value + penalty, np.append(error @ score + SLOPE_PRECISION * away, error.sum() + level * intercept)

    bounds = [(0.0, 3.0)] * count + [(-1.0, 1.0)]
    solution = minimize(loss, np.append(prior, 0.0), jac=True, method="L-BFGS-B", bounds=bounds)
    return solution.x[:-1], float(solution.x[-1])


def _run(
    manager: FeatureManager,
    symbols: Sequence[str],
    holdout: Window,
    chosen: Sequence[Fitted],
    costs: Costs,
    seed: int,
) -> list[Tried]:
    """Return ensembles of one timeframe on the holdout."""
    first = chosen[0][0]
    timeframe = first.timeframe
    wanted = list(dict.fromkeys(name for ensemble, _ in chosen for name in ensemble.features()))
    frame = manager.window(list(symbols), timeframe, wanted, holdout.start - bar_length(timeframe), holdout.end)
    labelled = with_labels(frame, timeframe, first.horizon).with_columns(pl.col("label_up").alias("label_event"))
    tested = labelled.filter(decided_at(timeframe).is_between(holdout.start, holdout.end, closed="left"))
    traded = evaluate(
        [EnsembleStrategy(ensemble) for ensemble, _ in chosen],
        manager,
        symbols,
        holdout.start,
        holdout.end,
        costs,
        timeframes=(timeframe,),
    )
    tried = []
    for (ensemble, validation), evaluation in zip(chosen, traded, strict=True):
        predictions = tested.select("symbol", "ts", ensemble.predict(tested), "label_event")
        metrics = measure(predictions, ensemble.base_rate, BLOCK, seed)
        tried.append(Tried(ensemble, validation, metrics, predictions, evaluation))
    return tried
