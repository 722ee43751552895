"""Deployed strategies, books, models and ensembles with their active periods, ready to be replayed.

Belongs here: turning lifecycles into active periods, building what the backtester runs. Does not belong here: the
ledger's arithmetic (`backtester.forward_ledger`), deciding what is active (the cycles).

Something that is replaced is tracked for one more cycle. A strategy re-activated within this grace period continues
its previous run. A strategy or a book is identified by its version; a model or ensemble by its name, whose versions
succeed each other (`model_zoo.serving.version_chain`).

No look-ahead: only events and versions up to the as-of are read.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from backtester.evaluation.evaluate import StrategyLike
from blofin_assets.shared.stored_models import StoredModels
from blofin_assets.shared.vocabulary import Kind, by_version
from blofin_assets.strategy_cycle.population import BOOKS, STRATEGIES, Versions, load_versions, loaded_versions
from blofin_resources.warehouse import Warehouse
from model_zoo.ensembles import EnsembleStrategy
from model_zoo.models.base import ModelError
from model_zoo.serving.ensemble_artifacts import ensemble_of
from model_zoo.serving.version_chain import VersionChain
from strategies.language.book import Book

GRACE: Final = timedelta(hours=48)
"""Grace period: a replaced strategy, model or ensemble is tracked for one more strategy cycle."""

_TURNS: Final = (
    "SELECT name, version, begins_at, event = 'active' AS begins FROM {} "
    "WHERE begins_at <= ? AND event IN ('active', 'archived', 'refused') ORDER BY begins_at, begins DESC"
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
    """A period in which something is tracked; `end` is None while it is active."""

    start: datetime
    end: datetime | None


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


def active_periods(turns: Iterable[tuple[datetime, bool]], grace: timedelta = GRACE) -> list[ActivePeriod]:
    """Return the active periods from activations (True) and deactivations (False) in order of time.

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
        if begins and (last is None or (last.end is not None and at > last.end)):
            periods.append(ActivePeriod(at, None))
        elif begins and last is not None and last.end is not None:
            periods[-1] = ActivePeriod(last.start, None)
        elif not begins and last is not None and last.end is None:
            periods[-1] = ActivePeriod(last.start, at + grace)
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
        Strategies, then books, models and ensembles.
    """
    runs = [*_versions(store, as_of, since, STRATEGIES), *_versions(store, as_of, since, BOOKS)]
    return [*runs, *_models(store, models, as_of, since), *_ensembles(store, models, as_of, since)]


def _versions(store: Warehouse, as_of: datetime, since: datetime | None, of: Versions[Any]) -> list[TrackedRun]:
    turns: dict[tuple[str, str], list[tuple[datetime, bool]]] = defaultdict(list)
    for name, version, at, begins in store.read(_TURNS.format(of.lifecycle), [as_of]).iter_rows():
        turns[name, version].append((at, begins))
    if not turns:
        return []
    versions = {record.key: record.strategy for record in load_versions(store, as_of, of)}
    lost, broken = "its code is missing, or defines a different version", loaded_versions(of)[1]
    return [
        TrackedRun(of.kind, *key, period, versions.get(key), "" if key in versions else broken.get(key[0], lost))
        for key, own in sorted(turns.items())
        for period in _open(active_periods(own), since)
    ]


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
