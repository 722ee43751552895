"""What a cycle evaluates on its holdout.

Belongs here: their order of precedence, and dropping duplicates. Does not belong here: running the backtests
(`evaluation`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol, TypeVar

import polars as pl

from backtester import Evaluation
from blofin_assets.shared.backtest_rows import pooled_of
from blofin_assets.shared.vocabulary import LifecycleNote, LifecycleState, Source
from blofin_assets.strategy_cycle.library import noted_events
from blofin_assets.strategy_cycle.population import (
    STRATEGIES,
    TICK,
    Key,
    StrategyRecord,
    VersionRecord,
    Versions,
    W,
    load_versions,
)
from blofin_resources.warehouse import Warehouse
from strategies.validation.duplicates import Positions, find_duplicate, positions


class Named(Protocol):
    """A result of one version."""

    @property
    def name(self) -> str:
        """Of the strategy or book."""
        ...

    @property
    def version(self) -> str:
        """Its version."""
        ...


E = TypeVar("E", bound=Named)

_FINALISTS: Final = (
    "SELECT name, version, parent_version FROM research.finalists "
    "WHERE as_of = ? AND stage IN (SELECT unnest(?)) ORDER BY place"
)


_EXHAUSTED: Final = "SELECT name, version FROM research.proposals WHERE as_of = ? AND state = 'exhausted' AND stage = ?"


def evaluation_set(store: Warehouse, as_of: datetime) -> list[StrategyRecord]:
    """Return the strategies that a cycle evaluates on its holdout; see `chosen_for_holdout`."""
    return chosen_for_holdout(store, as_of, STRATEGIES)


def chosen_for_holdout(store: Warehouse, as_of: datetime, of: Versions[W]) -> list[VersionRecord[W]]:
    """Return what a cycle evaluates of a kind on its holdout, in order of precedence.

    They are the deployed versions, the library's candidates, the parents of tuned versions and the finalists. Of
    duplicates, the first stays. Versions whose tuning attempts are exhausted are left out, and so are those that can no
    longer be compiled; a tuned version whose parent was lost meanwhile is evaluated without it.

    Parameters
    ----------
    store : Warehouse
        Where versions, events and finalists are read.
    as_of : datetime
        As-of of the cycle (UTC).
    of : Versions
        The kind.

    Returns
    -------
    list of VersionRecord
        Each with its state before the cycle.
    """
    everyone = {record.key: record for record in load_versions(store, as_of, of)}
    before = {record.key: record for record in load_versions(store, as_of - TICK, of)}
    exhausted = set(store.read(_EXHAUSTED, [as_of, of.tuning]).iter_rows())
    running = [record for record in before.values() if record.running]
    candidates = [
        record
        for record in before.values()
        if record.source == Source.LIBRARY and record.state == LifecycleState.CANDIDATE
    ]
    chosen = list(store.read(_FINALISTS, [as_of, of.stages]).iter_rows())
    parents = [everyone[name, parent] for name, _, parent in chosen if (name, parent) in everyone]
    finalists = [everyone[name, version] for name, version, _ in chosen if (name, version) in everyone]
    records: dict[Key, VersionRecord[W]] = {}
    for record in [*running, *candidates, *parents, *finalists]:
        if record.key not in exhausted:
            records.setdefault(record.key, before.get(record.key, replace(record, state=LifecycleState.CANDIDATE)))
    return list(records.values())


def drop_duplicates(evaluations: Sequence[Evaluation]) -> tuple[list[Evaluation], dict[Key, str]]:
    """Return the evaluations with positions of their own, and for each of the others the name that it duplicates.

    Positions are those of the scored lanes: one formula on bars of 15m and on bars of 4h is two strategies.
    """
    return drop_copies(
        evaluations, lambda each: positions(each.scored_trades, pooled_of(each).start, pooled_of(each).end)
    )


def drop_copies(evaluations: Sequence[E], held_of: Callable[[E], Positions]) -> tuple[list[E], dict[Key, str]]:
    """Return what has positions of its own, and for each of the others the name that it duplicates.

    Parameters
    ----------
    evaluations : sequence
        Results on the holdout, in order of precedence: the first of duplicates stays.
    held_of : callable
        Gives the positions of one; those that never traded are not duplicates of each other.

    Returns
    -------
    tuple of list, and dict of Key to str
        What stays; the names that the others repeat.
    """
    kept: dict[str, Positions] = {}
    stay: list[E] = []
    copies: dict[Key, str] = {}
    for evaluation in evaluations:
        held = held_of(evaluation)
        same = find_duplicate(held, kept) if held else None
        if same is None:
            kept[f"{evaluation.name} {evaluation.version}"] = held
            stay.append(evaluation)
        else:
            copies[evaluation.name, evaluation.version] = same[0].split(" ")[0]
    return stay, copies


def duplicate_events(copies: Mapping[Key, str], what: str, as_of: datetime) -> pl.DataFrame:
    """Return lifecycle rows of what repeats another.

    Parameters
    ----------
    copies : mapping of Key to str
        The names that they repeat.
    what : str
        What is the same: positions or weights.
    as_of : datetime
        As-of of the cycle (UTC).

    Returns
    -------
    DataFrame
        Rows of a lifecycle.
    """
    return noted_events(
        LifecycleNote.DUPLICATE, {key: f"its {what} repeat those of {first}" for key, first in copies.items()}, as_of
    )
