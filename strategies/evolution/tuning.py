"""Other parameter values for a strategy: a seeded search over the ranges that it declares, within a search window.

Belongs here: which values are tried, in which order, and which of them is proposed. Does not belong here: how a
version is judged (`judging`), who is tuned and how often (`selection`), the exam.

The search is Optuna's tree-structured Parzen estimator. Each parameter is searched on a grid (its own step, whole
numbers, or a fortieth of its range): neighbours on a plateau matter more than the fifth digit, and a value stays
readable. Values that somebody suggested come first. Same panel, seed and suggestions: same result.
"""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import optuna
from optuna.distributions import IntDistribution

from strategies.base import Param, Strategy, StrategyError
from strategies.evolution.judging import Judged, judge
from strategies.evolution.panel import Panel

GRID: Final = 40
"""Steps of a range that declares none."""

STARTUP: Final = 8
"""Random tries before the estimator has something to learn from."""

ASKS: Final = 4
"""How many values may be asked for each evaluation that is left: many are repeats of what was tried."""

Values = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Tuned:
    """What came of an attempt.

    Attributes
    ----------
    parent : Judged
        The version that it started from.
    best : Judged or None
        The best other version, if its objective beats the parent's.
    tried : tuple of Judged
        Every version that was evaluated, the parent first, in order.
    refused : tuple of str
        Suggestions that could not be used, each with the reason.
    """

    parent: Judged
    best: Judged | None
    tried: tuple[Judged, ...]
    refused: tuple[str, ...] = ()


def tune(
    panel: Panel,
    strategy: Strategy,
    *,
    budget: int,
    seed: int,
    first: Sequence[Values] = (),
    known: Iterable[str] = (),
) -> Tuned:
    """Look for better values of the declared parameters.

    Parameters
    ----------
    panel : Panel
        Of the search window.
    strategy : Strategy
        The version to improve; its own evaluation counts in the budget.
    budget : int
        Most evaluations, at least 1.
    seed : int
        Of the estimator.
    first : sequence of mapping
        Values to try before the estimator's own; parameters that a mapping leaves out stay as they are.
    known : iterable of str
        Versions that took an exam before and are not proposed again.

    Returns
    -------
    Tuned

    Raises
    ------
    ValueError
        If the strategy itself cannot be evaluated on the panel.
    """
    attempt = _Attempt(panel, strategy, budget)
    refused = [reason for values in first if (reason := attempt.suggest(values))]
    attempt.search(seed)
    tried = tuple(attempt.seen.values())
    others = [each for each in tried[1:] if each.strategy.version not in set(known)]
    best = max(others, key=lambda each: each.objective, default=None)
    better = best is not None and best.objective > attempt.parent.objective
    return Tuned(attempt.parent, best if better else None, tried, tuple(refused))


def changes(before: Values, after: Values) -> dict[str, str]:
    """Return what changed, as people read it: `{"oversold": "30→28"}`."""
    return {name: f"{before[name]:g}→{after[name]:g}" for name in before if before[name] != after[name]}


class _Attempt:
    """What was tried so far, each version once."""

    def __init__(self, panel: Panel, strategy: Strategy, budget: int) -> None:
        self._panel = panel
        self._strategy = strategy
        self._budget = budget
        self._axes = {name: _Axis.of(given) for name, given in strategy.ranges().items() if given.low < given.high}
        self.parent = judge(panel, strategy)
        self.seen: dict[str, Judged] = {strategy.version: self.parent}
        self._told: list[tuple[dict[str, int], float]] = [(self._place(strategy.parameters), self.parent.objective)]

    def suggest(self, values: Values) -> str | None:
        """Try values that somebody suggested; return why they cannot be tried, if so."""
        if len(self.seen) >= self._budget:
            return "the budget was used up"
        try:
            changed = self._strategy.with_parameters(**values)
        except StrategyError as error:
            return str(error)
        found = self._judged(changed)
        if found is None:
            return f"{dict(values)} could not be evaluated"
        self._told.append((self._place(changed.parameters), found.objective))
        return None

    def search(self, seed: int) -> None:
        """Use up the budget."""
        if not self._axes:
            return
        space = {name: IntDistribution(0, axis.count) for name, axis in self._axes.items()}
        study = _study(seed)
        for place, value in self._told:
            study.add_trial(optuna.trial.create_trial(params=place, distributions=_untyped(space), value=value))
        for trial in _asked(study, space, ASKS * max(0, self._budget - len(self.seen))):
            if len(self.seen) >= self._budget:
                return
            values = {name: axis.value(int(trial.params[name])) for name, axis in self._axes.items()}
            try:
                found = self._judged(self._strategy.with_parameters(**values))
            except StrategyError:
                found = None
            if found is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, found.objective)

    def _judged(self, changed: Strategy) -> Judged | None:
        """Return what a version is worth, evaluated once; None where its values make no strategy that can be run."""
        if changed.version not in self.seen:
            try:
                self.seen[changed.version] = judge(self._panel, changed)
            except ValueError:  # such as a feature whose window these values make too long
                return None
        return self.seen[changed.version]

    def _place(self, values: Values) -> dict[str, int]:
        return {name: axis.place(values[name]) for name, axis in self._axes.items()}


@dataclass(frozen=True)
class _Axis:
    """The grid of one parameter: `low + place * step`, for places from 0 to `count`."""

    low: float
    high: float
    step: float
    count: int
    whole: bool

    @classmethod
    def of(cls, given: Param[Any]) -> "_Axis":
        span = float(given.high - given.low)
        step = float(given.step or (math.ceil(span / GRID) if given.whole else span / GRID))
        return cls(float(given.low), float(given.high), step, max(1, math.floor(span / step + 1e-9)), given.whole)

    def value(self, place: int) -> float:
        found = self.low + place * self.step
        return round(found) if self.whole else min(max(float(f"{found:.3g}"), self.low), self.high)

    def place(self, value: float) -> int:
        return min(max(round((value - self.low) / self.step), 0), self.count)


def _study(seed: int) -> optuna.Study:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study otherwise
    try:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
        return optuna.create_study(direction="maximize", sampler=sampler)
    finally:
        optuna.logging.set_verbosity(level)


def _asked(study: optuna.Study, space: dict[str, IntDistribution], most: int) -> Iterator[optuna.trial.Trial]:
    for _ in range(most):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = study.ask(fixed_distributions=_untyped(space))
        yield trial


def _untyped(space: dict[str, IntDistribution]) -> dict[str, Any]:
    """Return the space as Optuna's annotations want it: a dict is not covariant."""
    return dict(space)
