"""Parameter tuning: a seeded search over the declared ranges of a strategy, within a search window.

Belongs here: which values are tried, in which order, and which version is proposed. Does not belong here: the objective
(`strategies.search.objective`), which strategies are tuned and how often (`strategies.quotas`), the holdout.

The search is Optuna's tree-structured Parzen estimator. Each parameter is searched on a grid (its own step, whole
numbers, or a fortieth of its range), which keeps values readable. Suggested values are tried first. The same panel,
seed and suggestions give the same result.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, Self, TypeVar

import optuna
from optuna.distributions import IntDistribution

from strategies.language.strategy import Param, Strategy, StrategyError
from strategies.search.objective import Scored, evaluate_objective
from strategies.search.panel import Panel

GRID: Final = 40
"""Steps of a range that declares none."""

STARTUP: Final = 8
"""Random trials before the estimator is used."""

ASKS: Final = 4
"""Suggestions drawn for each remaining evaluation, since many repeat earlier ones."""

MOST_SECONDS: Final = 600.0
"""Processor seconds after which an attempt tries nothing more. What one evaluation may cost is bounded by the compiler
(`strategies.untrusted.spans`), so a normal attempt takes seconds; this is a safety limit."""

Values = Mapping[str, float]


class Tunable(Protocol):
    """A strategy or a book: what has parameters."""

    @property
    def version(self) -> str:
        """What tells it from any other."""
        ...

    @property
    def parameters(self) -> dict[str, int | float]:
        """The values in force."""
        ...

    def ranges(self) -> dict[str, Param[Any]]:
        """Return its parameters by name."""
        ...

    def with_parameters(self, /, **values: float) -> Self:
        """Return the same with some parameters changed."""
        ...


S = TypeVar("S", bound=Tunable)
S_co = TypeVar("S_co", bound=Tunable, covariant=True)


class Measured(Protocol[S_co]):
    """A version and what it is worth."""

    @property
    def strategy(self) -> S_co:
        """The version."""
        ...

    @property
    def objective(self) -> float:
        """What tuning maximises."""
        ...


Q = TypeVar("Q", bound=Measured[Any])


@dataclass(frozen=True, eq=False)
class Tuned(Generic[S, Q]):
    """What came of an attempt.

    Attributes
    ----------
    parent : Scored or ScoredBook
        The version that it started from.
    best : Scored, ScoredBook or None
        The best other version, if its objective beats the parent's.
    tried : tuple of Scored or ScoredBook
        Every version that was evaluated, the parent first, in order.
    refused : tuple of str
        Suggestions that could not be used, each with the reason.
    stopped : str
        Why the budget was not used up; empty where time was no reason.
    """

    parent: Q
    best: Q | None
    tried: tuple[Q, ...]
    refused: tuple[str, ...] = ()
    stopped: str = ""


def tune(
    panel: Panel,
    strategy: Strategy,
    *,
    budget: int,
    seed: int,
    first: Sequence[Values] = (),
    known: Iterable[str] = (),
    seconds: float = MOST_SECONDS,
    clock: Callable[[], float] = time.process_time,
) -> Tuned[Strategy, Scored]:
    """Search for better values of the declared parameters.

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
        Versions that were run on a holdout before and are not proposed again.
    seconds : float
        Seconds on the clock after which no further version is tried.
    clock : callable
        By default the processor seconds of this process.

    Returns
    -------
    Tuned
        Every version tried, and the best of them.

    Raises
    ------
    ValueError
        If the strategy itself cannot be evaluated on the panel.
    """
    return tune_by(
        lambda version: evaluate_objective(panel, version),
        strategy,
        budget=budget,
        seed=seed,
        first=first,
        known=known,
        seconds=seconds,
        clock=clock,
    )


def tune_by(
    evaluate: Callable[[S], Q],
    strategy: S,
    *,
    budget: int,
    seed: int,
    first: Sequence[Values] = (),
    known: Iterable[str] = (),
    seconds: float = MOST_SECONDS,
    clock: Callable[[], float] = time.process_time,
) -> Tuned[S, Q]:
    """Search for better values of the declared parameters, by any objective.

    Parameters
    ----------
    evaluate : callable
        From a version to its objective; a ValueError says that it cannot be run.
    strategy : Strategy or Book
        The version to improve; its own evaluation counts in the budget.
    budget, seed, first, known, seconds, clock
        As for `tune`.

    Returns
    -------
    Tuned
        Every version tried, and the best of them.

    Raises
    ------
    ValueError
        If the strategy itself cannot be evaluated.
    """
    began = clock()
    attempt = _Attempt[S, Q](evaluate, strategy, budget, lambda: clock() - began > seconds)
    refused = [reason for values in first if (reason := attempt.suggest(values))]
    attempt.search(seed)
    tried = tuple(attempt.seen.values())
    others = [tuned for tuned in tried[1:] if tuned.strategy.version not in set(known)]
    best = max(others, key=lambda tuned: tuned.objective, default=None)
    better = best is not None and best.objective > attempt.parent.objective
    return Tuned(attempt.parent, best if better else None, tried, tuple(refused), attempt.stopped(seconds))


def changes(before: Values, after: Values) -> dict[str, str]:
    """Return the changed parameters as text.

    Examples
    --------
    >>> changes({"oversold": 30, "length": 14}, {"oversold": 28, "length": 14})
    {'oversold': '30→28'}
    """
    return {name: f"{before[name]:g}→{after[name]:g}" for name in before if before[name] != after[name]}


class _Attempt(Generic[S, Q]):
    """The versions tried so far, each once."""

    def __init__(self, evaluate: Callable[[S], Q], strategy: S, budget: int, over: Callable[[], bool]) -> None:
        self._over = over
        self._late = False
        self._evaluate = evaluate
        self._strategy = strategy
        self._budget = budget
        self._axes = {name: _Axis.of(param) for name, param in strategy.ranges().items() if param.low < param.high}
        self.parent = evaluate(strategy)
        self.seen: dict[str, Q] = {strategy.version: self.parent}
        self._told: list[tuple[dict[str, int], float]] = [(self._place(strategy.parameters), self.parent.objective)]

    def suggest(self, values: Values) -> str | None:
        """Try suggested values; return why they cannot be tried, or None."""
        if len(self.seen) >= self._budget:
            return "the budget was used up"
        if self._is_late():
            return "the time was used up"
        try:
            changed = self._strategy.with_parameters(**values)
        except StrategyError as error:
            return str(error)
        scored = self._scored(changed)
        if scored is None:
            return f"{dict(values)} could not be evaluated"
        self._told.append((self._place(changed.parameters), scored.objective))
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
            if len(self.seen) >= self._budget or self._is_late():
                return
            values = {name: axis.value(int(trial.params[name])) for name, axis in self._axes.items()}
            try:
                scored = self._scored(self._strategy.with_parameters(**values))
            except StrategyError:
                scored = None
            if scored is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, scored.objective)

    def stopped(self, seconds: float) -> str:
        """Return why the budget was not used up, if time was the reason."""
        if not self._late:
            return ""
        return f"stopped after {len(self.seen)} of {self._budget} evaluations: more than {seconds:g} s of processor"

    def _is_late(self) -> bool:
        self._late = self._late or self._over()
        return self._late

    def _scored(self, changed: S) -> Q | None:
        """Evaluate a version once; None where its values give a strategy that cannot be run."""
        if changed.version not in self.seen:
            try:
                self.seen[changed.version] = self._evaluate(changed)
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
    def of(cls, param: Param[Any]) -> "_Axis":
        span = float(param.high - param.low)
        step = float(param.step or (math.ceil(span / GRID) if param.whole else span / GRID))
        return cls(float(param.low), float(param.high), step, max(1, math.floor(span / step + 1e-9)), param.whole)

    def value(self, place: int) -> float:
        number = self.low + place * self.step
        near = round(number) if self.whole else float(f"{number:.3g}")
        return min(max(near, self.low), self.high)  # a step may be wider than the range

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
