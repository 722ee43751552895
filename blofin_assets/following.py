"""Who is followed forward, from when and until when: strategies, models and ensembles, ready to be replayed.

Belongs here: folding lifecycles into stretches, making of each what the backtester runs. Does not belong here: the
ledger's arithmetic (`backtester.forward`), deciding who is active (the cycles).

What is replaced is followed one cycle longer, and what comes back within that time was never away. A strategy is a
version; a model or ensemble is a name whose versions take over from each other (`model_zoo.relay`).

No look-ahead: only events and versions up to the as-of are read.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final

from backtester.evaluation import StrategyLike
from blofin_assets.roster import roster
from blofin_resources.warehouse import Warehouse
from model_zoo.artifacts import Artifact, load_artifact
from model_zoo.base import ModelError
from model_zoo.ensemble_files import ensemble_of
from model_zoo.ensembles import EnsembleStrategy
from model_zoo.relay import Relay

GRACE: Final = timedelta(hours=48)
"""How long what was replaced is still followed: one strategy cycle."""

_TURNS: Final = (
    "SELECT name, version, \"at\", event = 'active' AS begins FROM research.strategy_events "
    "WHERE \"at\" <= ? AND event IN ('active', 'archived', 'refused') ORDER BY \"at\", begins DESC"
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
class Stretch:
    """A time in which something is followed; `end` is null while that is open."""

    start: datetime
    end: datetime | None


@dataclass(frozen=True, eq=False)
class Followed:
    """One run of the forward ledger.

    Attributes
    ----------
    kind : str
        strategy, model or ensemble.
    name, version : str
        Of models and ensembles, the version in force at the as-of.
    stretch : Stretch
        From activation, flat.
    tradable : StrategyLike or None
        What is replayed; None where it is lost.
    detail : str
        Why it is lost.
    """

    kind: str
    name: str
    version: str
    stretch: Stretch
    tradable: StrategyLike | None
    detail: str = ""

    @property
    def by_name(self) -> bool:
        """Whether its versions take over from each other."""
        return self.kind != "strategy"


def stretches(turns: Iterable[tuple[datetime, bool]], grace: timedelta = GRACE) -> list[Stretch]:
    """Return when something is followed, from its turns to active (True) and away from it, in order of time."""
    found: list[Stretch] = []
    for at, begins in turns:
        last = found[-1] if found else None
        if begins and (last is None or (last.end is not None and at > last.end)):
            found.append(Stretch(at, None))
        elif begins and last is not None and last.end is not None:
            found[-1] = Stretch(last.start, None)
        elif not begins and last is not None and last.end is None:
            found[-1] = Stretch(last.start, at + grace)
    return found


def following(store: Warehouse, models: Path, as_of: datetime, since: datetime | None) -> list[Followed]:
    """Return everything that is followed at a time, or has been since the ledger's last key.

    Parameters
    ----------
    store : Warehouse
        Where lifecycles are read.
    models : Path
        Folder of all models.
    as_of : datetime
        Nothing later is read.
    since : datetime or None
        What ended before this is left out.
    """
    found = [*_strategies(store, as_of, since), *_models(store, models, as_of, since)]
    return [*found, *_ensembles(store, models, as_of, since)]


def _strategies(store: Warehouse, as_of: datetime, since: datetime | None) -> list[Followed]:
    turns: dict[tuple[str, str], list[tuple[datetime, bool]]] = defaultdict(list)
    for name, version, at, begins in store.read(_TURNS, [as_of]).iter_rows():
        turns[name, version].append((at, begins))
    known = {member.key: member.strategy for member in roster(store, as_of)}
    lost = "its code is not here any more, or makes another version"
    return [
        Followed("strategy", *key, stretch, known.get(key), "" if key in known else lost)
        for key, own in sorted(turns.items())
        for stretch in _open(stretches(own), since)
    ]


def _models(store: Warehouse, models: Path, as_of: datetime, since: datetime | None) -> list[Followed]:
    found = []
    for name, stretch in _ranked(store, "model", as_of, since):
        versions = store.read(_MODEL_VERSIONS, [name, stretch.start, _until(stretch, as_of)]).rows()
        try:
            relay = Relay([(at, _artifact(models / ".versions" / artifact).as_strategy()) for at, artifact in versions])
            found.append(Followed("model", name, relay.version, stretch, relay))
        except ModelError as error:
            found.append(Followed("model", name, "", stretch, None, str(error)))
    return found


def _ensembles(store: Warehouse, models: Path, as_of: datetime, since: datetime | None) -> list[Followed]:
    found = []
    for name, stretch in _ranked(store, "ensemble", as_of, since):
        rows = store.read(_ENSEMBLE_VERSIONS, [name, stretch.start, _until(stretch, as_of)]).rows()
        try:
            made = [(at, ensemble_of(json.loads(definition), models, _artifact)) for at, definition in rows]
            relay = Relay([(at, EnsembleStrategy(each)) for at, each in made])
            found.append(Followed("ensemble", name, relay.version, stretch, relay))
        except ModelError as error:
            found.append(Followed("ensemble", name, "", stretch, None, str(error)))
    return found


def _ranked(store: Warehouse, kind: str, as_of: datetime, since: datetime | None) -> list[tuple[str, Stretch]]:
    """Return what ranks made active: who is not among the active of a cycle turns away at that cycle."""
    ranks = store.read(_RANKED, [kind, as_of])
    cycles = ranks["as_of"].unique().sort().to_list()
    names = sorted(set(ranks.filter("active")["name"]))
    active = set(ranks.filter("active").select("name", "as_of").rows())
    return [
        (name, stretch)
        for name in names
        for stretch in _open(stretches((at, (name, at) in active) for at in cycles), since)
    ]


def _open(found: list[Stretch], since: datetime | None) -> list[Stretch]:
    return [each for each in found if since is None or each.end is None or each.end > since]


def _until(stretch: Stretch, as_of: datetime) -> datetime:
    return as_of if stretch.end is None else min(as_of, stretch.end)


@lru_cache(maxsize=1024)
def _artifact(folder: Path) -> Artifact:
    """Return a stored version; one that was read stays in memory, since each night reads all of a run's versions."""
    return load_artifact(folder)
