"""The roster: which strategies exist at a time, and what state each is in.

Belongs here: the library and the generated strategies as one list, with their states as of a time. Does not belong
here: deciding states (the strategy cycle), evaluating anything.

Generated strategies are rows: their text is compiled by the compiler of untrusted code, never imported. A row whose
text no longer gives the version that it is stored under, since a feature that it reads was defined anew, is another
strategy by now: it is not on the roster, and `lost` says why.

No look-ahead: only rows and events up to the as-of are read. A cycle that must not see its own results asks for the
moment before its as-of.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, cast, get_args

from blofin_resources.warehouse import Warehouse
from strategies.base import Strategy, StrategyError
from strategies.compiler import compile_strategy
from strategies.registry import load_library

State = Literal["candidate", "active", "tuning", "archived", "refused"]

TICK: Final = timedelta(microseconds=1)
"""What a cycle takes from its as-of where it must not see its own results."""

Key = tuple[str, str]
"""Name and version."""

_EVENTS: Final = (
    'SELECT name, version, event, "at" FROM research.strategy_events WHERE "at" <= ? '
    "ORDER BY \"at\", list_position(['candidate', 'validated', 'active', 'tuning', 'archived', 'refused'], event)"
)
_GENERATED: Final = (
    "SELECT name, version, source, author, code, parameters, created_at FROM research.strategies "
    "WHERE source <> 'library' AND created_at <= ? ORDER BY name, version"
)


@dataclass(frozen=True, eq=False)
class Member:
    """One version of a strategy as of a time.

    Attributes
    ----------
    strategy : Strategy
        Ready to be evaluated.
    state : State
        candidate, active, tuning, archived or refused.
    since : datetime or None
        From when it has this state; None where it was never seen by a cycle.
    active_since : datetime or None
        When it last became active; None where it never did. An attempt to tune it does not interrupt this.
    ended : datetime or None
        When it was last archived; None where it never was, or is running again.
    source : str
        library, tuned or designed.
    author : str
        library, search, claude or tuner.
    """

    strategy: Strategy
    state: State
    since: datetime | None = None
    active_since: datetime | None = None
    ended: datetime | None = None
    source: str = "library"
    author: str = "library"

    @property
    def key(self) -> Key:
        """Name and version."""
        return self.strategy.name, self.strategy.version

    @property
    def running(self) -> bool:
        """Whether it is followed: active, and not archived since; one that is being tuned stays active."""
        return self.active_since is not None and self.ended is None


def roster(store: Warehouse, as_of: datetime) -> list[Member]:
    """Return every strategy that exists at a time: the library, then what was generated, each sorted by name.

    Parameters
    ----------
    store : Warehouse
        Where rows and events are read.
    as_of : datetime
        Nothing that was decided later is taken into account.

    Notes
    -----
    A name may stand there in several versions (a tuned one beside the one that it replaced); at most one is running.
    """
    lives = _lives(store, as_of)
    library = [_member(each, lives, "library", "library") for each in load_library()]
    compiled = ((row, _compiled(*row[:2], *row[4:6])) for row in store.read(_GENERATED, [as_of]).iter_rows())
    generated = [_member(found, lives, row[2], row[3]) for row, found in compiled if isinstance(found, Strategy)]
    return library + generated


def active(store: Warehouse, as_of: datetime, *, grace: timedelta = timedelta(0)) -> list[Member]:
    """Return the strategies that are followed at a time, with the moment from which each is.

    Parameters
    ----------
    store, as_of
        As for `roster`.
    grace : timedelta
        Also those that were archived less than this before: what was replaced is followed one cycle longer.
    """
    return [
        each
        for each in roster(store, as_of)
        if each.running or (each.ended is not None and each.active_since is not None and as_of - each.ended < grace)
    ]


def lost(store: Warehouse, as_of: datetime) -> dict[Key, str]:
    """Return the generated versions that cannot be made from their rows any more, each with the reason."""
    rows = store.read(_GENERATED, [as_of]).iter_rows()
    found = {(row[0], row[1]): _compiled(*row[:2], *row[4:6]) for row in rows}
    return {key: reason for key, reason in found.items() if isinstance(reason, str)}


@dataclass
class _Life:
    """What the events of one version come to."""

    state: State = "candidate"
    since: datetime | None = None
    active_since: datetime | None = None
    ended: datetime | None = None

    @property
    def running(self) -> bool:
        return self.active_since is not None and self.ended is None

    def take(self, event: str, at: datetime) -> None:
        if event == "validated":
            return
        if event == "active" and not self.running:
            self.active_since, self.ended = at, None
        if event in {"archived", "refused"}:
            self.ended = at
        self.state, self.since = cast("State", event), at


def _lives(store: Warehouse, as_of: datetime) -> dict[Key, _Life]:
    lives: dict[Key, _Life] = {}
    for name, version, event, at in store.read(_EVENTS, [as_of]).iter_rows():
        if event == "validated" or event in get_args(State):
            lives.setdefault((name, version), _Life()).take(event, at)
    return lives


def _member(strategy: Strategy, lives: dict[Key, _Life], source: str, author: str) -> Member:
    life = lives.get((strategy.name, strategy.version), _Life())
    return Member(strategy, life.state, life.since, life.active_since, life.ended, source, author)


@lru_cache(maxsize=4096)
def _compiled(name: str, version: str, code: str, parameters: str | None) -> Strategy | str:
    """Return the strategy of a row, or why there is none."""
    origin = f"research.strategies {name} {version}"
    try:
        made = compile_strategy(code, origin, **(json.loads(parameters) if parameters else {}))
    except StrategyError as error:
        return str(error)
    if (made.name, made.version) != (name, version):
        return f"{origin} is version {made.version} today: a feature that it reads was defined anew"
    return made
