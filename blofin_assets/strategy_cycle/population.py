"""The population: which strategies and books exist at a time, and the state of each.

Belongs here: the library and the generated versions of a kind as one list, with their states as of a time. Does not
belong here: deciding states (the strategy cycle), evaluating anything.

Generated versions are rows: their text is compiled by the compiler of untrusted code, never imported. If the text of
a row no longer gives the version under which it is stored, because a feature it reads was redefined, it is a different
version and not part of the population; `lost` gives the reason. The same holds for library files that cannot be
loaded; `loaded_library` gives the reasons.

No look-ahead: only rows and events up to the as-of are read. A cycle that must not see its own results passes the
moment before its as-of.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar

from blofin_assets.shared.fence import each_alone
from blofin_assets.shared.vocabulary import Author, Kind, LifecycleState, Source
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from strategies import registry
from strategies.language.book import Book
from strategies.language.strategy import Strategy, StrategyError, Written
from strategies.quotas import Stage
from strategies.untrusted.compiler import compile_book, compile_strategy

TICK: Final = timedelta(microseconds=1)
"""Subtracted from the as-of by a cycle that must not read its own results."""

Key = tuple[str, str]
"""Name and version."""

W = TypeVar("W", bound=Written)

_EVENTS: Final = (
    "SELECT name, version, event, begins_at FROM {} WHERE begins_at <= ? "
    "ORDER BY begins_at, list_position(['candidate', 'validated', 'active', 'tuning', 'archived', 'refused'], event)"
)
_GENERATED: Final = (
    "SELECT name, version, source, author, code, parameters, created_at FROM {} "
    "WHERE source <> 'library' AND created_at <= ? ORDER BY name, version"
)


@dataclass(frozen=True, eq=False)
class Versions(Generic[W]):
    """Where the versions of one kind are stored, and how they are loaded.

    Attributes
    ----------
    kind : Kind
        Strategy or book.
    table, lifecycle : str
        Tables of the texts and of the events.
    tuning, design : Stage
        Where its proposals come from.
    folder : Path
        Files of the library.
    load : callable
        From a file of the library to its version.
    compile : callable
        From an untrusted text, its origin and its parameters to a version.
    """

    kind: Kind
    table: str
    lifecycle: str
    tuning: Stage
    design: Stage
    folder: Path
    load: Callable[[Path], W]
    compile: Callable[..., W]

    @property
    def stages(self) -> list[Stage]:
        """Both stages."""
        return [self.tuning, self.design]


STRATEGIES: Final = Versions(
    Kind.STRATEGY, "research.strategies", "research.strategy_lifecycle", Stage.TUNING, Stage.DESIGN,
    registry.LIBRARY, registry.load_file, compile_strategy,
)  # fmt: skip
BOOKS: Final = Versions(
    Kind.BOOK, "research.books", "research.book_lifecycle", Stage.BOOK_TUNING, Stage.BOOK_DESIGN,
    registry.BOOKS, registry.load_book, compile_book,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class VersionRecord(Generic[W]):
    """One version of a strategy or a book as of a time.

    Attributes
    ----------
    strategy : Strategy or Book
        Ready to be evaluated.
    state : LifecycleState
        candidate, active, tuning, archived or refused.
    since : datetime or None
        When it entered this state; None if no cycle has seen it.
    active_since : datetime or None
        When it last became active; None if it never did. Tuning does not interrupt this.
    ended : datetime or None
        When it was last archived; None if it never was, or is active again.
    source : str
        library, tuned or designed.
    author : str
        library, search, claude or tuner.
    """

    strategy: W
    state: LifecycleState
    since: datetime | None = None
    active_since: datetime | None = None
    ended: datetime | None = None
    source: str = Source.LIBRARY
    author: str = Author.LIBRARY

    @property
    def key(self) -> Key:
        """Name and version."""
        return self.strategy.name, self.strategy.version

    @property
    def running(self) -> bool:
        """Whether it is deployed: active and not archived since; tuning does not change that."""
        return self.active_since is not None and self.ended is None


def one_of_each_name(records: Iterable[VersionRecord[W]]) -> list[VersionRecord[W]]:
    """Return one version of each name, sorted by name: the deployed one, else the first."""
    by_name: dict[str, VersionRecord[W]] = {}
    for record in records:
        other = by_name.get(record.strategy.name)
        if other is None or (record.running and not other.running):
            by_name[record.strategy.name] = record
    return [by_name[name] for name in sorted(by_name)]


StrategyRecord: TypeAlias = VersionRecord[Strategy]
BookRecord: TypeAlias = VersionRecord[Book]


def loaded_library() -> tuple[list[Strategy], dict[str, str]]:
    """Return the library's strategies, and why other files of it cannot be loaded; see `loaded_versions`."""
    return loaded_versions(STRATEGIES)


def loaded_versions(of: Versions[W]) -> tuple[list[W], dict[str, str]]:
    """Return what the library has of a kind, and the reasons why other files of it cannot be loaded, by name.

    Raises
    ------
    BlofinError
        If no file can be loaded.
    """
    loaded = each_alone(registry.library_files(of.folder), of.load)
    broken = {path.stem: reason for path, reason in loaded.failed}
    if not loaded.done:
        msg = f"no {of.kind} of the library can be loaded: {'; '.join(broken.values()) or 'there is no file'}"
        raise BlofinError(msg)
    return [version for _, version in loaded.done], broken


def load_population(store: Warehouse, as_of: datetime) -> list[StrategyRecord]:
    """Return every strategy that exists at a time; see `load_versions`."""
    return load_versions(store, as_of, STRATEGIES)


def load_versions(store: Warehouse, as_of: datetime, of: Versions[W]) -> list[VersionRecord[W]]:
    """Return everything of a kind that exists at a time: the library, then generated ones, each sorted by name.

    Parameters
    ----------
    store : Warehouse
        Where rows and events are read.
    as_of : datetime
        Later decisions are ignored (UTC).
    of : Versions
        The kind.

    Returns
    -------
    list of VersionRecord
        A name may have several versions (a tuned one beside its predecessor); at most one is running.
    """
    lifecycles = _lifecycles(store, as_of, of)
    library = [_record(version, lifecycles, Source.LIBRARY, Author.LIBRARY) for version in loaded_versions(of)[0]]
    rows = store.read(_GENERATED.format(of.table), [as_of]).iter_rows()
    compiled = ((row, _compiled(of, *row[:2], *row[4:6])) for row in rows)
    generated = [
        _record(version, lifecycles, row[2], row[3]) for row, version in compiled if not isinstance(version, str)
    ]
    return library + generated


def active(store: Warehouse, as_of: datetime, *, grace: timedelta = timedelta(0)) -> list[StrategyRecord]:
    """Return the deployed strategies at a time.

    Parameters
    ----------
    store, as_of
        As in `load_population`.
    grace : timedelta
        Strategies archived less than this before are included: a replaced strategy is tracked for one more cycle.

    Returns
    -------
    list of StrategyRecord
        With the time since which each is active.
    """
    return [
        record
        for record in load_population(store, as_of)
        if record.running
        or (record.ended is not None and record.active_since is not None and as_of - record.ended < grace)
    ]


def lost(store: Warehouse, as_of: datetime, of: Versions[Any] = STRATEGIES) -> dict[Key, str]:
    """Return the generated versions of a kind that can no longer be compiled from their rows.

    Parameters
    ----------
    store : Warehouse
        Where rows are read.
    as_of : datetime
        Later rows are ignored (UTC).
    of : Versions
        The kind.

    Returns
    -------
    dict of Key to str
        The reason for each.
    """
    rows = store.read(_GENERATED.format(of.table), [as_of]).iter_rows()
    compiled = {(row[0], row[1]): _compiled(of, *row[:2], *row[4:6]) for row in rows}
    return {key: reason for key, reason in compiled.items() if isinstance(reason, str)}


@dataclass
class _Lifecycle:
    """The state of one version that its events lead to."""

    state: LifecycleState = LifecycleState.CANDIDATE
    since: datetime | None = None
    active_since: datetime | None = None
    ended: datetime | None = None

    @property
    def running(self) -> bool:
        return self.active_since is not None and self.ended is None

    def take(self, state: LifecycleState, at: datetime) -> None:
        if state == LifecycleState.ACTIVE and not self.running:
            self.active_since, self.ended = at, None
        if state in {LifecycleState.ARCHIVED, LifecycleState.REFUSED}:
            self.ended = at
        self.state, self.since = state, at


def _lifecycles(store: Warehouse, as_of: datetime, of: Versions[W]) -> dict[Key, _Lifecycle]:
    lifecycles, states = dict[Key, _Lifecycle](), frozenset(LifecycleState)
    for name, version, event, at in store.read(_EVENTS.format(of.lifecycle), [as_of]).iter_rows():
        if event in states:
            lifecycles.setdefault((name, version), _Lifecycle()).take(LifecycleState(event), at)
    return lifecycles


def _record(version: W, lifecycles: dict[Key, _Lifecycle], source: str, author: str) -> VersionRecord[W]:
    lifecycle = lifecycles.get((version.name, version.version), _Lifecycle())
    return VersionRecord(
        version, lifecycle.state, lifecycle.since, lifecycle.active_since, lifecycle.ended, source, author
    )


@lru_cache(maxsize=4096)
def _compiled(of: Versions[Any], name: str, version: str, code: str, parameters: str | None) -> Any:
    """Return the version of a row, or the reason why there is none."""
    origin = f"{of.table} {name} {version}"
    try:
        written = of.compile(code, origin, **(json.loads(parameters) if parameters else {}))
    except StrategyError as error:
        return str(error)
    if (written.name, written.version) != (name, version):
        return f"{origin} is version {written.version} today: a feature that it reads was redefined"
    return written
