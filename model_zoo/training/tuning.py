"""Tuning of drifting models: a challenger is searched, and adopted only if it is better on unseen days.

Belongs here: which models are due, the search over a type's ranges, the comparison of challenger and champion. Does not
belong here: detecting drift (the forward ledger), storing decisions (the assets), training
(`model_zoo.training.fitting`).

Every cycle retrains every model, so the first response to drift has been made when it is detected. If a later version
drifts as well, other hyper-parameters are searched, the inputs suggested for dropping are left out, and an input that
was written for this model may be added. Search and comparison never share a day: the search
sees [T - 10 d, T - 3 d) by its own validation folds; then champion and challenger each predict the three days up to T,
day by day, trained on the seven days before each. The challenger takes over only if its log-loss on them is lower at
the one-sided 5 % level.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import numpy as np
import polars as pl

from backtester.statistics.windows import Window
from features.bars import bar_length
from features.feature_manager import FeatureManager
from model_zoo.datasets.folds import TRAIN_DAYS, decided_at
from model_zoo.evaluation.metrics import measure, paired_gain
from model_zoo.models.base import ModelError, ModelSpec, Range, WrittenInput
from model_zoo.models.catalog import MODELS
from model_zoo.training.fitting import fit, predicted, rows_of

TEST_DAYS: Final = 3
"""Days that neither champion nor challenger has seen, up to the as-of."""
DAY: Final = timedelta(days=1)
BUDGET: Final = 16
"""Specifications tried in a search, the champion's own included."""
STARTUP: Final = 6
"""Random trials before the estimator is used."""
GRID: Final = 20
"""Steps of a range: neighbours matter more than the fifth digit."""
FRESH: Final = timedelta(days=2)
"""Drift tests older than this are ignored."""
REST: Final = timedelta(days=3)
"""Time after a search in which the same model is not searched again, since its test days would be the same."""
MOST: Final = 2
"""Models searched for in one cycle."""
BLOCK: Final = timedelta(hours=2)
"""Block of the bootstraps, as in `model_zoo.training.trainer`."""


class DriftState(StrEnum):
    """State of a model by its drift tests."""

    STEADY = "steady"
    """The last test found no drift, or there was none lately."""
    FIRST = "drifts"
    """It drifted for the first night in a row; retraining, which the cycle does, is the answer."""
    PERSISTS = "persists"
    """It had drifted the night before as well, so that a version trained since then drifts too."""


def drift_state(tested: Sequence[tuple[datetime, bool]], as_of: datetime) -> DriftState:
    """Return the state of a model by its drift tests as of T.

    Parameters
    ----------
    tested : sequence of (datetime, bool)
        When it was tested, with enough data to tell, and whether it drifted.
    as_of : datetime
        T; later evaluation dates are ignored.

    Returns
    -------
    str
        'steady': the last test found none, or there was none lately. 'drifts': it did, for the first night in a row;
        retraining, which the cycle does, is the answer. 'persists': it had drifted the night before as well, so that
        a version trained since then drifts too; a drift of weeks ago is another.
    """
    past = sorted(each for each in tested if each[0] <= as_of)
    if not past or not past[-1][1] or as_of - past[-1][0] > FRESH:
        return DriftState.STEADY
    lately = len(past) > 1 and past[-1][0] - past[-2][0] <= FRESH
    return DriftState.PERSISTS if lately and past[-2][1] else DriftState.FIRST


def to_search(
    states: Mapping[str, DriftState], searched: Mapping[str, datetime], as_of: datetime, most: int = MOST
) -> list[str]:
    """Return the models to search for now: those with persistent drift, the longest unsearched first.

    Parameters
    ----------
    states : mapping of str to State
        By model.
    searched : mapping of str to datetime
        When each was last searched for.
    as_of : datetime
        T.
    most : int
        Cap.

    Returns
    -------
    list of str
        Names, at most `most`.
    """
    waiting = [
        name
        for name, state in states.items()
        if state == DriftState.PERSISTS and (name not in searched or as_of - searched[name] >= REST)
    ]
    never = datetime.min.replace(tzinfo=as_of.tzinfo)
    return sorted(waiting, key=lambda name: (searched.get(name, never), name))[:most]


@dataclass(frozen=True, eq=False)
class Tried:
    """One specification in the search.

    Attributes
    ----------
    spec : ModelSpec
        What was tried.
    log_loss : float
        On the validation folds of the search's window, nats.
    """

    spec: ModelSpec
    log_loss: float


@dataclass(frozen=True, eq=False)
class Challenge:
    """How a challenger did against the champion.

    Attributes
    ----------
    champion, challenger : ModelSpec
        The specification in force, and the best of the search: the champion itself where nothing was better.
    tried : tuple of Tried
        Everything that was evaluated, the champion first.
    searched, test_window : Window
        What the search saw, and what only the comparison saw.
    rows : int
        Test rows with a label.
    champion_log_loss, challenger_log_loss : float or None
        On them, nats; None where there was no other challenger.
    gain, gain_low : float or None
        Champion's less challenger's, and the lower end of its 90 % block-bootstrap interval.
    """

    champion: ModelSpec
    challenger: ModelSpec
    tried: tuple[Tried, ...]
    searched: Window
    test_window: Window
    rows: int = 0
    champion_log_loss: float | None = None
    challenger_log_loss: float | None = None
    gain: float | None = None
    gain_low: float | None = None

    @property
    def adopted(self) -> bool:
        """Whether the challenger is better on what neither has seen, at the one-sided 5 % level."""
        return self.gain_low is not None and self.gain_low > 0


def fingerprint(spec: ModelSpec) -> str:
    """Return twelve hexadecimal digits of the SHA-256 of a specification."""
    return hashlib.sha256(json.dumps(spec.to_json(), sort_keys=True).encode()).hexdigest()[:12]


def challenge(
    manager: FeatureManager,
    symbols: Sequence[str],
    as_of: datetime,
    champion: ModelSpec,
    *,
    drop: Sequence[str] = (),
    add: Mapping[str, WrittenInput] | None = None,
    budget: int = BUDGET,
    test_days: int = TEST_DAYS,
) -> Challenge:
    """Search for a better specification, and compare it with the champion on days that neither has seen.

    Parameters
    ----------
    manager : FeatureManager
        As of T; its registry knows what is written.
    symbols : sequence of str
        Pooled.
    as_of : datetime
        T.
    champion : ModelSpec
        In force; its seed is the search's.
    drop : sequence of str
        Inputs that the search may leave out, all or none.
    add : mapping of str to WrittenInput
        Inputs that the search may take in, all or none. With them in place of `drop` is what it tries first.
    budget : int
        Specifications tried, at least 1.
    test_days : int
        Days up to T that the search does not see.

    Returns
    -------
    Challenge
        Champion, challenger and their comparison.

    Raises
    ------
    ModelError
        If there is too little history before T.

    Notes
    -----
    No look-ahead: the search ends before the test days begin, and each test day is predicted by models trained on
    earlier data alone. The same data, champion and seed give the same result.
    """
    searched, test_window = windows(as_of, test_days)
    require_history(manager, symbols, champion, as_of, test_days)
    new = dict(add or {})
    widest = _with_inputs(champion, (*champion.inputs, *(name for name in new if name not in champion.inputs)), new)
    rows = rows_of(manager, symbols, widest, Window(searched.start, as_of))
    tried = _search(rows, champion, searched, _Room(drop, new), budget)
    best = min(tried, key=lambda trial: trial.log_loss)
    if best.spec == champion:
        return Challenge(champion, champion, tuple(tried), searched, test_window)
    return _compared(rows, Challenge(champion, best.spec, tuple(tried), searched, test_window), test_days)


def windows(as_of: datetime, test_days: int = TEST_DAYS) -> tuple[Window, Window]:
    """Return the window of a search as of T, and the window of its test days."""
    boundary = as_of - test_days * DAY
    return Window(boundary - TRAIN_DAYS, boundary), Window(boundary, as_of)


def require_history(
    manager: FeatureManager, symbols: Sequence[str], spec: ModelSpec, as_of: datetime, test_days: int = TEST_DAYS
) -> None:
    """Reject a search with too few bars before T.

    Parameters
    ----------
    manager : FeatureManager
        Where candles and features come from.
    symbols : sequence of str
        Pooled.
    spec : ModelSpec
        Whose timeframe is checked.
    as_of : datetime
        T.
    test_days : int
        Days up to T that the search does not see.

    Raises
    ------
    ModelError
        If the bars begin after the search's window does.
    """
    searched, _ = windows(as_of, test_days)
    length = bar_length(spec.timeframe)
    bars = manager.source.candles(list(symbols), spec.timeframe, searched.start - length, searched.start + length)
    if bars.is_empty():
        msg = f"{spec.name}: the search needs bars from {searched.start:%Y-%m-%d %H:%M} on; the history begins later"
        raise ModelError(msg)


@dataclass(frozen=True, eq=False)
class _Room:
    """Inputs that a search may leave out, and those that it may take in: each all or none."""

    drop: Sequence[str]
    add: Mapping[str, WrittenInput]

    def used(self, champion: ModelSpec, suggested: Mapping[str, Any]) -> ModelSpec:
        """Return the champion with the given inputs."""
        gone = set(self.drop) if suggested.get("drop") else set()
        new = tuple(name for name in self.add if name not in champion.inputs) if suggested.get("add") else ()
        return _with_inputs(champion, (*(name for name in champion.inputs if name not in gone), *new), self.add)

    def axes(self, champion: ModelSpec) -> list[str]:
        """Return what there is to choose."""
        gone = [name for name in self.drop if name in champion.inputs]
        some = bool(gone) and len(gone) < len(champion.inputs)
        return [name for name, there in (("drop", some), ("add", bool(self.add))) if there]


def _with_inputs(spec: ModelSpec, inputs: tuple[str, ...], texts: Mapping[str, WrittenInput]) -> ModelSpec:
    """Return the specification with these inputs, the texts of the written among them."""
    written = {**spec.written, **texts}
    return replace(spec, inputs=inputs, written={name: written[name] for name in inputs if name in written})


def _search(rows: pl.DataFrame, champion: ModelSpec, window: Window, room: _Room, budget: int) -> list[Tried]:
    """Return what was tried: the champion, then the suggestions of Optuna's tree-structured Parzen estimator.

    Where there is an input to take in, the champion with it comes second, at its own hyper-parameters.
    """
    import optuna  # noqa: PLC0415 - takes half a second; only a search needs it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    model = MODELS[champion.type]
    choices = room.axes(champion)
    axes: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.IntDistribution(0, GRID) for name in model.ranges
    }
    axes |= {name: optuna.distributions.IntDistribution(0, 1) for name in choices}
    sampler = optuna.samplers.TPESampler(seed=champion.seed, n_startup_trials=STARTUP)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    tried = {fingerprint(champion): Tried(champion, _loss(rows, champion, window))}
    if "add" in choices and budget > 1:
        renewed = room.used(champion, dict.fromkeys(choices, 1))
        tried[fingerprint(renewed)] = Tried(renewed, _loss(rows, renewed, window))
    for _ in range(4 * budget if axes else 0):
        if len(tried) >= budget:
            break
        trial = study.ask(axes)
        spec = _spec(room.used(champion, trial.params), model.ranges, trial.params)
        scored = tried.get(fingerprint(spec)) or Tried(spec, _loss(rows, spec, window))
        tried[fingerprint(spec)] = scored
        study.tell(trial, scored.log_loss)
    return list(tried.values())


def _spec(spec: ModelSpec, ranges: Mapping[str, Range], suggested: Mapping[str, Any]) -> ModelSpec:
    """Return the specification with the suggested hyper-parameters."""
    values = {name: bounds.at(suggested[name] / GRID) for name, bounds in ranges.items()}
    return replace(spec, hyper={**spec.hyper, **values})


def _loss(rows: pl.DataFrame, spec: ModelSpec, window: Window) -> float:
    fitted = fit(rows, spec, window)
    loss = measure(fitted.out_of_fold, fitted.base_rate, BLOCK, spec.seed).log_loss
    return math.inf if loss is None else loss


def _compared(rows: pl.DataFrame, challenge: Challenge, days: int) -> Challenge:
    """Return the challenge with the comparison of both on the test days."""
    frames = []
    for number in range(days):
        day = Window(challenge.test_window.start + number * DAY, challenge.test_window.start + (number + 1) * DAY)
        train = Window(day.start - TRAIN_DAYS, day.start)
        # a model of this day must not see the next one, though the rows are there
        seen = rows.filter(decided_at(challenge.champion.timeframe) < day.end)
        specs = (challenge.champion, challenge.challenger)
        predictions = [_predictions_of_day(seen, spec, train, day) for spec in specs]
        frames.append(predictions[0].join(predictions[1], on=["symbol", "ts"], suffix="_challenger", validate="1:1"))
    both = pl.concat(frames).drop_nulls(["probability", "probability_challenger", "label_event"])
    if both.is_empty():
        return challenge
    gain, low = paired_gain(both, "probability", "probability_challenger", BLOCK, challenge.champion.seed)
    event = both["label_event"].to_numpy()
    losses = [
        float(-np.log(np.where(event, probability, 1 - probability)).mean())
        for probability in (both["probability"].to_numpy(), both["probability_challenger"].to_numpy())
    ]
    return replace(
        challenge, rows=both.height, champion_log_loss=losses[0], challenger_log_loss=losses[1], gain=gain, gain_low=low
    )


def _predictions_of_day(rows: pl.DataFrame, spec: ModelSpec, train: Window, day: Window) -> pl.DataFrame:
    model = fit(rows, spec, train).model
    labelled = rows.filter(decided_at(spec.timeframe).is_between(day.start, day.end, closed="left"))
    return predicted(model, labelled).select("symbol", "ts", "probability", "label_event")
