"""Models that drift: retrained first, searched for if that does not help, replaced only by what is better unseen.

Belongs here: what is due, the search over a type's ranges, the comparison of challenger and champion. Does not belong
here: noticing drift (the forward ledger), storing what was decided (the assets), training (`model_zoo.learning`).

Every cycle trains every model anew, so the first answer to drift has been given when it is noticed. If a version
trained since then drifts as well, other hyper-parameters are searched for, the inputs that were suggested for dropping
are left out, and one that was written for this model may come in. Search and comparison never share a day: the search
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
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from features.bars import bar_length
from features.feature_manager import FeatureManager
from model_zoo.base import ModelError, ModelSpec, Range, WrittenInput
from model_zoo.catalog import MODELS
from model_zoo.folds import TRAIN_DAYS, Window, decided_at
from model_zoo.learning import learn, predicted, rows_of
from model_zoo.validation import measure, paired_gain

JUDGED_DAYS: Final = 3
"""Days that neither champion nor challenger has seen, up to the as-of."""
DAY: Final = timedelta(days=1)
BUDGET: Final = 16
"""Specifications tried in a search, the champion's own included."""
STARTUP: Final = 6
"""Random tries before the estimator has something to learn from."""
GRID: Final = 20
"""Steps of a range: neighbours matter more than the fifth digit."""
FRESH: Final = timedelta(days=2)
"""Drift that was last looked at longer ago is not news."""
REST: Final = timedelta(days=3)
"""Time after a search in which the same model is not searched for again: its judged days would be the same ones."""
MOST: Final = 2
"""Models searched for in one cycle."""
BLOCK: Final = timedelta(hours=2)
"""Block of the bootstraps, as in `model_zoo.trainer`."""

State = Literal["steady", "drifts", "persists"]


def drift_state(nights: Sequence[tuple[datetime, bool]], as_of: datetime) -> State:
    """Return what a model's drift tests say as of T.

    Parameters
    ----------
    nights : sequence of (datetime, bool)
        When it was tested, with enough data to tell, and whether it drifted.
    as_of : datetime
        T; later nights are not looked at.

    Returns
    -------
    str
        'steady': the last test found none, or there was none lately. 'drifts': it did, for the first night in a row;
        retraining, which the cycle does, is the answer. 'persists': it had drifted the night before as well, so that
        a version trained since then drifts too; a drift of weeks ago is another.
    """
    known = sorted(night for night in nights if night[0] <= as_of)
    if not known or not known[-1][1] or as_of - known[-1][0] > FRESH:
        return "steady"
    lately = len(known) > 1 and known[-1][0] - known[-2][0] <= FRESH
    return "persists" if lately and known[-2][1] else "drifts"


def to_search(
    states: Mapping[str, State], searched: Mapping[str, datetime], as_of: datetime, most: int = MOST
) -> list[str]:
    """Return the models to search for now: those whose drift persists, longest unsearched first, at most so many.

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
    """
    waiting = [
        name
        for name, state in states.items()
        if state == "persists" and (name not in searched or as_of - searched[name] >= REST)
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
    searched, judged : Window
        What the search saw, and what only the comparison saw.
    rows : int
        Judged rows with a label.
    champion_log_loss, challenger_log_loss : float or None
        On them, nats; None where there was no other challenger.
    gain, gain_low : float or None
        Champion's less challenger's, and the lower end of its 90 % block-bootstrap interval.
    """

    champion: ModelSpec
    challenger: ModelSpec
    tried: tuple[Tried, ...]
    searched: Window
    judged: Window
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
    judged_days: int = JUDGED_DAYS,
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
    judged_days : int
        Days up to T that the search does not see.

    Raises
    ------
    ModelError
        If there is too little history before T.

    Notes
    -----
    No look-ahead: the search ends before the judged days begin, and each judged day is predicted by models that
    learned from what came before it. Same data, champion and seed: same result.
    """
    searched, judged = windows(as_of, judged_days)
    require_history(manager, symbols, champion, as_of, judged_days)
    new = dict(add or {})
    widest = _with_inputs(champion, (*champion.inputs, *(name for name in new if name not in champion.inputs)), new)
    rows = rows_of(manager, symbols, widest, Window(searched.start, as_of))
    tried = _search(rows, champion, searched, _Room(drop, new), budget)
    best = min(tried, key=lambda each: each.log_loss)
    if best.spec == champion:
        return Challenge(champion, champion, tuple(tried), searched, judged)
    return _compared(rows, Challenge(champion, best.spec, tuple(tried), searched, judged), judged_days)


def windows(as_of: datetime, judged_days: int = JUDGED_DAYS) -> tuple[Window, Window]:
    """Return the window that a search as of T sees, and the days after it by which its result is judged."""
    boundary = as_of - judged_days * DAY
    return Window(boundary - TRAIN_DAYS, boundary), Window(boundary, as_of)


def require_history(
    manager: FeatureManager, symbols: Sequence[str], spec: ModelSpec, as_of: datetime, judged_days: int = JUDGED_DAYS
) -> None:
    """Refuse a search for which there are too few bars before T.

    Raises
    ------
    ModelError
        If the bars begin after the search's window does.
    """
    searched, _ = windows(as_of, judged_days)
    length = bar_length(spec.timeframe)
    bars = manager.source.candles(list(symbols), spec.timeframe, searched.start - length, searched.start + length)
    if bars.is_empty():
        msg = f"{spec.name}: a search needs history from {searched.start:%Y-%m-%d %H:%M}; there is none"
        raise ModelError(msg)


@dataclass(frozen=True, eq=False)
class _Room:
    """Inputs that a search may leave out, and those that it may take in: each all or none."""

    drop: Sequence[str]
    add: Mapping[str, WrittenInput]

    def used(self, champion: ModelSpec, asked: Mapping[str, Any]) -> ModelSpec:
        """Return the champion with the inputs that were asked for."""
        gone = set(self.drop) if asked.get("drop") else set()
        new = tuple(name for name in self.add if name not in champion.inputs) if asked.get("add") else ()
        return _with_inputs(champion, (*(name for name in champion.inputs if name not in gone), *new), self.add)

    def axes(self, champion: ModelSpec) -> list[str]:
        """Return what there is to choose."""
        gone = [name for name in self.drop if name in champion.inputs]
        some = bool(gone) and len(gone) < len(champion.inputs)
        return [name for name, there in (("drop", some), ("add", bool(self.add))) if there]


def _with_inputs(spec: ModelSpec, inputs: tuple[str, ...], texts: Mapping[str, WrittenInput]) -> ModelSpec:
    """Return the specification with these inputs, the texts of the written among them."""
    known = {**spec.written, **texts}
    return replace(spec, inputs=inputs, written={name: known[name] for name in inputs if name in known})


def _search(rows: pl.DataFrame, champion: ModelSpec, window: Window, room: _Room, budget: int) -> list[Tried]:
    """Return what was tried: the champion, then what Optuna's tree-structured Parzen estimator asked for.

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
        known = tried.get(fingerprint(spec)) or Tried(spec, _loss(rows, spec, window))
        tried[fingerprint(spec)] = known
        study.tell(trial, known.log_loss)
    return list(tried.values())


def _spec(spec: ModelSpec, ranges: Mapping[str, Range], asked: Mapping[str, Any]) -> ModelSpec:
    """Return the specification with the hyper-parameters at the places asked for."""
    values = {name: each.at(asked[name] / GRID) for name, each in ranges.items()}
    return replace(spec, hyper={**spec.hyper, **values})


def _loss(rows: pl.DataFrame, spec: ModelSpec, window: Window) -> float:
    found = learn(rows, spec, window)
    loss = measure(found.out_of_fold, found.base_rate, BLOCK, spec.seed).log_loss
    return math.inf if loss is None else loss


def _compared(rows: pl.DataFrame, found: Challenge, days: int) -> Challenge:
    """Return the challenge with what both said of the judged days."""
    said = []
    for number in range(days):
        day = Window(found.judged.start + number * DAY, found.judged.start + (number + 1) * DAY)
        train = Window(day.start - TRAIN_DAYS, day.start)
        # a model of this day must not see the next one, though the rows are there
        seen = rows.filter(decided_at(found.champion.timeframe) < day.end)
        told = [_said(seen, spec, train, day) for spec in (found.champion, found.challenger)]
        said.append(told[0].join(told[1], on=["symbol", "ts"], suffix="_challenger", validate="1:1"))
    both = pl.concat(said).drop_nulls(["probability", "probability_challenger", "label_event"])
    if both.is_empty():
        return found
    gain, low = paired_gain(both, "probability", "probability_challenger", BLOCK, found.champion.seed)
    event = both["label_event"].to_numpy()
    losses = [
        float(-np.log(np.where(event, each, 1 - each)).mean())
        for each in (both["probability"].to_numpy(), both["probability_challenger"].to_numpy())
    ]
    return replace(
        found, rows=both.height, champion_log_loss=losses[0], challenger_log_loss=losses[1], gain=gain, gain_low=low
    )


def _said(rows: pl.DataFrame, spec: ModelSpec, train: Window, day: Window) -> pl.DataFrame:
    model = learn(rows, spec, train).model
    told = rows.filter(decided_at(spec.timeframe).is_between(day.start, day.end, closed="left"))
    return predicted(model, told).select("symbol", "ts", "probability", "label_event")
