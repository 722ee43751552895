"""Completed cycles: the row that the last asset of a cycle writes in its own transaction, and checks that read it.

Belongs here: that row, reading it, refusing a cycle out of order. Does not belong here: what is due
(`scheduling.progress`).
"""

from datetime import UTC, date, datetime
from typing import Final

import polars as pl

from blofin_assets.shared.cadences import DEEP_HISTORY, DRIFT, FORWARD, ML_CYCLE, STRATEGY_CYCLE
from blofin_assets.shared.vocabulary import CycleState
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Transaction, Warehouse
from features.bars import TS

EVENTS: Final = "research.cycle_history"

_DONE: Final = {
    ML_CYCLE: (
        "SELECT as_of FROM research.ranking_history WHERE kind IN ('model', 'ensemble') "
        "GROUP BY as_of HAVING count(DISTINCT kind) = 2"
    ),
    **{
        # by the commit of the last asset, which may have no rows of its own, or of the checks after it
        job: f"SELECT DISTINCT as_of FROM research.cycle_history WHERE cycle = '{job}' AND state = 'done'"  # noqa: S608 - constant names
        for job in (STRATEGY_CYCLE, FORWARD, DRIFT)
    },
}


def mark_done(tx: Transaction, job: str, key: str, as_of: datetime) -> None:
    """Record that a cycle is complete.

    Parameters
    ----------
    tx : Transaction
        The transaction of its last results.
    job, key : str
        The cycle's job and partition key.
    as_of : datetime
        As-of of the cycle.
    """
    row = {"cycle": job, "key": key, "as_of": as_of, "state": CycleState.DONE, "happened_at": datetime.now(UTC)}
    frame = pl.DataFrame([row], schema_overrides={"as_of": TS, "happened_at": TS})
    tx.append(EVENTS, frame, key=["cycle", "as_of", "state"])


def mark_deep_done(warehouse: Warehouse, as_of: datetime, universe: str, start: date | None, run_id: str) -> int | None:
    """Record that deep history and the universe are complete up to a midnight, under these settings.

    Parameters
    ----------
    warehouse : Warehouse
        Where the event is stored.
    as_of : datetime
        The midnight (UTC).
    universe : str
        The rule.
    start : date or None
        `BLOFIN_DEEP_START`.
    run_id : str
        Run that writes.

    Returns
    -------
    int or None
        The snapshot.
    """
    row = {
        "cycle": DEEP_HISTORY, "key": _deep_key(universe, start), "as_of": as_of, "state": CycleState.DONE,
        "happened_at": datetime.now(UTC),
    }  # fmt: skip
    frame = pl.DataFrame([row], schema_overrides={"as_of": TS, "happened_at": TS})
    with warehouse.transaction(run_id) as tx:
        tx.append(EVENTS, frame, key=["cycle", "key", "as_of", "state"])
    return tx.snapshot


def deep_done(warehouse: Warehouse, as_of: datetime, universe: str, start: date | None) -> bool:
    """Return whether deep history is complete up to a midnight or a later one.

    Parameters
    ----------
    warehouse, as_of, universe, start
        As in `mark_deep_done`.

    Returns
    -------
    bool
        Whether a run under these settings has reached the midnight.
    """
    found = warehouse.read(
        f"SELECT count(*) AS n FROM {EVENTS} WHERE cycle = ? AND key = ? AND as_of >= ? AND state = 'done'",  # noqa: S608 - constant table
        [DEEP_HISTORY, _deep_key(universe, start), as_of],
    )
    return bool(found["n"][0])


def _deep_key(universe: str, start: date | None) -> str:
    return universe if start is None else f"{universe} from {start}"


def done_times(warehouse: Warehouse, job: str) -> frozenset[datetime]:
    """Return the as-of times of a job, other than the report, whose last asset has been written."""
    return frozenset(warehouse.read(_DONE[job])["as_of"])


def require_cycle_order(warehouse: Warehouse, job: str, as_of: datetime) -> None:
    """Refuse to repeat a cycle that depends on its predecessor after a later one has run.

    Parameters
    ----------
    warehouse : Warehouse
        Where completed cycles are stored.
    job : str
        Job of the cycle.
    as_of : datetime
        Its as-of.

    Raises
    ------
    BlofinError
        The text names the later cycle and says what to do.
    """
    done = done_times(warehouse, job)
    newest = max(done, default=as_of)
    if newest > as_of and as_of not in done:
        raise BlofinError(superseded(job, as_of, newest))


def superseded(job: str, as_of: datetime, newest: datetime, requested: datetime | None = None) -> str:
    """Return the message about a cycle that cannot run after a later one.

    Parameters
    ----------
    job : str
        Job of the cycle.
    as_of, newest : datetime
        As-of of the cycle, and of the later one.
    requested : datetime, optional
        The requested time, if there is one.

    Returns
    -------
    str
        One line.
    """
    name, moment = job.replace("_", " "), requested or as_of
    return (
        f"the {name} of {as_of:%Y-%m-%d %H:%M} UTC cannot run: that of {newest:%Y-%m-%d %H:%M} UTC is done, and "
        "each cycle depends on its predecessor; to run it anyway, use another warehouse: "
        f"BLOFIN_WAREHOUSE=<folder> blofin run --as-of {moment:%Y-%m-%dT%H:%M:%SZ}"
    )
