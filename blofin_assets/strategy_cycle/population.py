"""The population: which strategies exist at a time, and the state of each.

Belongs here: the library and the generated strategies as one list, with their states as of a time. Does not belong
here: deciding states (the strategy cycle), evaluating anything.

Generated strategies are rows: their text is compiled by the compiler of untrusted code, never imported. If the text of
a row no longer gives the version under which it is stored, because a feature it reads was redefined, it is a different
strategy and not part of the population; `lost` gives the reason. The same holds for library files that cannot be
loaded; `loaded_library` gives the reasons.

No look-ahead: only rows and events up to the as-of are read. A cycle that must not see its own results passes the
moment before its as-of.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from blofin_assets.shared.fence import each_alone
from blofin_assets.shared.vocabulary import Author, LifecycleState, Source
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from strategies.language.strategy import Strategy, StrategyError
from strategies.registry import library_files, load_file
from strategies.untrusted.compiler import compile_strategy

TICK: Final = timedelta(microseconds=1)
"""Subtracted from the as-of by a cycle that must not read its own results."""

Key = tuple[str, str]
"""Name and version."""

_EVENTS: Final = (
    "SELECT name, version, event, begins_at FROM research.strategy_lifecycle WHERE begins_at <= ? "
    "ORDER BY begins_at, list_position(['candidate', 'validated', 'active', 'tuning', 'archived', 'refused'], event)"
)
_GENERATED: Final = (
    "SELECT name, version, source, author, code, parameters, created_at FROM research.strategies "
    "WHERE source <> 'library' AND created_at <= ? ORDER BY name, version"
)


@dataclass(frozen=True, eq=False)
class StrategyRecord:
    """One version of a strategy as of a time.

    Attributes
    ----------
    strategy : Strategy
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

    strategy: Strategy
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


def loaded_library() -> tuple[list[Strategy], dict[str, str]]:
    """Return the library's strategies, and the reasons why other files of it cannot be loaded, by name.

    Raises
    ------
    BlofinError
        If no file can be loaded.
    """
    loaded = each_alone(library_files(), load_file)
    broken = {path.stem: reason for path, reason in loaded.failed}
    if not loaded.done:
        msg = f"no strategy of the library can be loaded: {'; '.join(broken.values()) or 'there is no file'}"
        raise BlofinError(msg)
    return [strategy for _, strategy in loaded.done], broken


def load_population(store: Warehouse, as_of: datetime) -> list[StrategyRecord]:
    """Return every strategy that exists at a time: the library, then generated ones, each sorted by name.

    Parameters
    ----------
    store : Warehouse
        Where rows and events are read.
    as_of : datetime
        Later decisions are ignored (UTC).

    Returns
    -------
    list of StrategyRecord
        A name may have several versions (a tuned one beside its predecessor); at most one is running.
    """
    lifecycles = _lifecycles(store, as_of)
    library = [_record(strategy, lifecycles, Source.LIBRARY, Author.LIBRARY) for strategy in loaded_library()[0]]
    compiled = ((row, _compiled(*row[:2], *row[4:6])) for row in store.read(_GENERATED, [as_of]).iter_rows())
    generated = [
        _record(strategy, lifecycles, row[2], row[3]) for row, strategy in compiled if isinstance(strategy, Strategy)
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


def lost(store: Warehouse, as_of: datetime) -> dict[Key, str]:
    """Return the generated versions that can no longer be compiled from their rows, with the reasons."""
    rows = store.read(_GENERATED, [as_of]).iter_rows()
    compiled = {(row[0], row[1]): _compiled(*row[:2], *row[4:6]) for row in rows}
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


def _lifecycles(store: Warehouse, as_of: datetime) -> dict[Key, _Lifecycle]:
    lifecycles, states = dict[Key, _Lifecycle](), frozenset(LifecycleState)
    for name, version, event, at in store.read(_EVENTS, [as_of]).iter_rows():
        if event in states:
            lifecycles.setdefault((name, version), _Lifecycle()).take(LifecycleState(event), at)
    return lifecycles


def _record(strategy: Strategy, lifecycles: dict[Key, _Lifecycle], source: str, author: str) -> StrategyRecord:
    lifecycle = lifecycles.get((strategy.name, strategy.version), _Lifecycle())
    return StrategyRecord(
        strategy, lifecycle.state, lifecycle.since, lifecycle.active_since, lifecycle.ended, source, author
    )


@lru_cache(maxsize=4096)
def _compiled(name: str, version: str, code: str, parameters: str | None) -> Strategy | str:
    """Return the strategy of a row, or the reason why there is none."""
    origin = f"research.strategies {name} {version}"
    try:
        strategy = compile_strategy(code, origin, **(json.loads(parameters) if parameters else {}))
    except StrategyError as error:
        return str(error)
    if (strategy.name, strategy.version) != (name, version):
        return f"{origin} is version {strategy.version} today: a feature that it reads was redefined"
    return strategy
