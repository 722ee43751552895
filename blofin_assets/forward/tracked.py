"""Deployed strategies, books, models and ensembles with their active periods, ready to be replayed.

Belongs here: turning lifecycles into active periods, building what the backtester runs. Does not belong here: the
ledger's arithmetic (`backtester.forward_ledger`), deciding what is active (the cycles).

Something that is replaced is tracked for one more cycle. A strategy or a book is followed further for its evidence,
until that is hopeless or two years after activation: with one cycle alone hardly any record would last long enough to
be confirmed. Something re-activated meanwhile continues its previous run. A strategy or a book is identified by its
version; a model or ensemble by its name, whose versions succeed each other (`model_zoo.serving.version_chain`).

No look-ahead: only events and versions up to the as-of are read.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from backtester.evaluation.evaluate import StrategyLike
from backtester.statistics.e_process import HOPELESS
from blofin_assets.shared.stored_models import StoredModels
from blofin_assets.shared.vocabulary import Kind, LifecycleState, by_version
from blofin_assets.strategy_cycle.population import BOOKS, STRATEGIES, Versions, load_versions, loaded_versions
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from model_zoo.ensembles import EnsembleStrategy
from model_zoo.models.base import ModelError
from model_zoo.serving.ensemble_artifacts import ensemble_of
from model_zoo.serving.version_chain import VersionChain
from strategies.language.book import Book

GRACE: Final = timedelta(hours=48)
"""Grace period: a replaced strategy, model or ensemble is tracked for one more strategy cycle."""
FOLLOWED: Final = timedelta(days=730)
"""Longest time from activation for which an archived strategy or book is followed."""

_TURNS: Final = (
    "SELECT name, version, begins_at, event FROM {} "
    "WHERE begins_at <= ? AND event IN ('active', 'archived', 'refused') ORDER BY begins_at, event <> 'active', event"
)
_LAST: Final = (
    "SELECT name, version, activated_at, max(as_of) FROM research.forward_runs WHERE kind = ? AND as_of < ? "
    "GROUP BY ALL"
)
_RANKED: Final = (
    "SELECT name, as_of, status = 'active' AS active FROM research.ranking_history "
    "WHERE kind = ? AND as_of <= ? ORDER BY as_of"
)
_MODEL_VERSIONS: Final = (
    "SELECT as_of, artifact FROM ml.ml_model_results WHERE model_name = ? AND as_of >= ? AND as_of <= ? "
    "AND status <> 'rejected' ORDER BY as_of"
)
_ENSEMBLE_VERSIONS: Final = (
    "SELECT as_of, definition FROM ml.ml_ensembles WHERE ensemble_name = ? AND definition IS NOT NULL "
    "AND as_of >= ? AND as_of <= ? ORDER BY as_of"
)


@dataclass(frozen=True)
class ActivePeriod:
    """A period in which something is tracked.

    Attributes
    ----------
    start : datetime
        Activation.
    end : datetime or None
        End of tracking, as far as it is known; None while active.
    archived : datetime or None
        When it was replaced; None while active.
    """

    start: datetime
    end: datetime | None
    archived: datetime | None = None


@dataclass(frozen=True, eq=False)
class TrackedRun:
    """One run of the forward ledger.

    Attributes
    ----------
    kind : Kind
        Strategy, book, model or ensemble.
    name, version : str
        For models and ensembles, the version in force at the as-of.
    period : ActivePeriod
        From activation; the run starts without a position.
    tradable : StrategyLike, Book or None
        What is replayed; None if it cannot be loaded.
    detail : str
        Why it cannot be loaded.
    """

    kind: Kind
    name: str
    version: str
    period: ActivePeriod
    tradable: StrategyLike | Book | None
    detail: str = ""

    @property
    def by_name(self) -> bool:
        """Whether its versions succeed each other under one name."""
        return not by_version(self.kind)

    def past_grace(self, as_of: datetime) -> bool:
        """Return whether a version was replaced more than `GRACE` before a time: its evidence alone is asked for."""
        archived = None if self.by_name else self.period.archived
        return archived is not None and as_of > archived + GRACE


def _one_cycle_more(_: datetime, archived: datetime) -> datetime:
    return archived + GRACE


def active_periods(
    turns: Iterable[tuple[datetime, bool]],
    until: Callable[[datetime, datetime], datetime] = _one_cycle_more,
    begun: Collection[datetime] = (),
) -> list[ActivePeriod]:
    """Return the active periods from activations (True) and deactivations (False) in order of time.

    Parameters
    ----------
    turns : iterable of (datetime, bool)
        Activations and deactivations.
    until : callable
        From a period's start and its deactivation to the end of tracking; by default one cycle more.
    begun : collection of datetime
        Activations at which a run of its own is stored: they continue no earlier one.

    Returns
    -------
    list of ActivePeriod
        In order of time, without overlap. An activation while something is still tracked continues its period.

    Examples
    --------
    >>> from datetime import UTC
    >>> day = [datetime(2025, 6, number, tzinfo=UTC) for number in range(1, 10)]
    >>> [period.end is None for period in active_periods([(day[0], True), (day[3], False), (day[4], True)])]
    [True]
    """
    periods: list[ActivePeriod] = []
    for at, begins in turns:
        last = periods[-1] if periods else None
        if begins and (last is None or (last.end is not None and (at > last.end or at in begun))):
            if last is not None and last.end is not None:
                periods[-1] = replace(last, end=min(last.end, at))
            periods.append(ActivePeriod(at, None))
        elif begins and last is not None and last.end is not None:
            periods[-1] = ActivePeriod(last.start, None)
        elif not begins and last is not None and last.end is None:
            periods[-1] = ActivePeriod(last.start, until(last.start, at), at)
    return periods


def tracked_runs(store: Warehouse, models: Path, as_of: datetime, since: datetime | None) -> list[TrackedRun]:
    """Return everything that is tracked at a time, or was since the ledger's last key.

    Parameters
    ----------
    store : Warehouse
        Where lifecycles are read.
    models : Path
        Folder of all models.
    as_of : datetime
        Nothing later is read (UTC).
    since : datetime or None
        Periods that ended before this are left out.

    Returns
    -------
    list of TrackedRun
        Strategies, then books, models and ensembles. Archived strategies and books that are followed for their
        evidence alone (`TrackedRun.past_grace`) are due once a day.
    """
    runs = [*_versions(store, as_of, since, STRATEGIES), *_versions(store, as_of, since, BOOKS)]
    return [*runs, *_models(store, models, as_of, since), *_ensembles(store, models, as_of, since)]


def _versions(store: Warehouse, as_of: datetime, since: datetime | None, of: Versions[Any]) -> list[TrackedRun]:
    turns: dict[tuple[str, str], list[tuple[datetime, str]]] = defaultdict(list)
    for name, version, at, event in store.read(_TURNS.format(of.lifecycle), [as_of]).iter_rows():
        turns[name, version].append((at, event))
    if not turns:
        return []
    versions = {record.key: record.strategy for record in load_versions(store, as_of, of)}
    lost, broken = "its code is missing, or defines a different version", loaded_versions(of)[1]
    last, begun = _last_keys(store, as_of, of.kind), defaultdict[tuple[str, str], set[datetime]](set)
    for name, version, start in last:
        begun[name, version].add(start)
    until = _End({key: {at for at, event in own if event == LifecycleState.REFUSED} for key, own in turns.items()},
                 _hopeless(store, as_of, of.kind))  # fmt: skip
    runs = []
    for key, own in sorted(turns.items()):
        changes = [(at, event == LifecycleState.ACTIVE) for at, event in own]
        why = "" if key in versions else broken.get(key[0], lost)
        for period in active_periods(changes, partial(until.of, key), begun[key]):
            run = TrackedRun(of.kind, *key, period, versions.get(key), why)
            archived, written = run.past_grace(as_of), last.get((*key, period.start))
            if _is_due(period, as_of, written) if archived else _open([period], since):
                runs.append(run)
    return runs


@dataclass(frozen=True)
class _End:
    """Until when what was archived is followed: by version the times of its refusal, by record its hopeless nights."""

    refused: Mapping[tuple[str, str], Collection[datetime]]
    hopeless: Mapping[tuple[str, str, datetime], Sequence[datetime]]

    def of(self, key: tuple[str, str], start: datetime, archived: datetime) -> datetime:
        """Return the end of a record; without evidence, or once refused, there is nothing to follow."""
        nights = self.hopeless.get((*key, start))
        if nights is None or archived in self.refused[key]:
            return archived + GRACE
        stop = next((night for night in nights if night >= archived), start + FOLLOWED)
        return max(archived + GRACE, min(stop, start + FOLLOWED))


def _is_due(period: ActivePeriod, as_of: datetime, last: datetime | None) -> bool:
    """Return whether an archived version is followed at a key: at midnights, until its end has been written."""
    if as_of.hour or period.end is None:
        return False
    return period.end >= as_of if last is None else last < period.end


def _hopeless(store: Warehouse, as_of: datetime, kind: Kind) -> dict[tuple[str, str, datetime], list[datetime]]:
    """Return for each record with evidence the nights before a key by which little of its capital was left."""
    rows = store.read(query("forward/hopeless_nights"), {"kind": kind, "as_of": as_of, "hopeless": HOPELESS})
    return {(name, version, start): nights or [] for name, version, start, nights in rows.iter_rows()}


def _last_keys(store: Warehouse, as_of: datetime, kind: Kind) -> dict[tuple[str, str, datetime], datetime]:
    """Return the last key before this one at which each record was tracked."""
    return {(name, version, start): at for name, version, start, at in store.read(_LAST, [kind, as_of]).iter_rows()}


def _models(store: Warehouse, models: Path, as_of: datetime, since: datetime | None) -> list[TrackedRun]:
    runs: list[TrackedRun] = []
    stored = StoredModels(store, models)
    for name, period in _ranked(store, Kind.MODEL, as_of, since):
        versions = store.read(_MODEL_VERSIONS, [name, period.start, _until(period, as_of)]).rows()
        try:
            chain = VersionChain([(at, stored.named(artifact).as_strategy()) for at, artifact in versions])
            runs.append(TrackedRun(Kind.MODEL, name, chain.version, period, chain))
        except ModelError as error:
            runs.append(TrackedRun(Kind.MODEL, name, "", period, None, str(error)))
    return runs


def _ensembles(store: Warehouse, models: Path, as_of: datetime, since: datetime | None) -> list[TrackedRun]:
    runs: list[TrackedRun] = []
    stored = StoredModels(store, models)
    for name, period in _ranked(store, Kind.ENSEMBLE, as_of, since):
        rows = store.read(_ENSEMBLE_VERSIONS, [name, period.start, _until(period, as_of)]).rows()
        try:
            ensembles = [(at, ensemble_of(json.loads(definition), models, stored.at)) for at, definition in rows]
            chain = VersionChain([(at, EnsembleStrategy(ensemble)) for at, ensemble in ensembles])
            runs.append(TrackedRun(Kind.ENSEMBLE, name, chain.version, period, chain))
        except ModelError as error:
            runs.append(TrackedRun(Kind.ENSEMBLE, name, "", period, None, str(error)))
    return runs


def _ranked(store: Warehouse, kind: Kind, as_of: datetime, since: datetime | None) -> list[tuple[str, ActivePeriod]]:
    """Return the active periods that follow from rankings: whatever is not active in a cycle is deactivated there."""
    ranks = store.read(_RANKED, [kind, as_of])
    cycles = ranks["as_of"].unique().sort().to_list()
    names = sorted(set(ranks.filter("active")["name"]))
    active = set(ranks.filter("active").select("name", "as_of").rows())
    return [
        (name, period)
        for name in names
        for period in _open(active_periods((at, (name, at) in active) for at in cycles), since)
    ]


def _open(periods: list[ActivePeriod], since: datetime | None) -> list[ActivePeriod]:
    return [period for period in periods if since is None or period.end is None or period.end > since]


def _until(period: ActivePeriod, as_of: datetime) -> datetime:
    return as_of if period.end is None else min(as_of, period.end)
