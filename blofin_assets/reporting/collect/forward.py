"""What was promised and what came: the forward ledger and the drift tests.

Belongs here: reading the ledger's state as of the report. Does not belong here: judging drift.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from blofin_assets.partitions import DAY
from blofin_assets.plan import DRIFT, FORWARD
from blofin_resources.warehouse import Warehouse

_RUNS: Final = (
    "SELECT as_of, kind, name, version, activated_at, ends_at, state, detail, days, trades, open_positions, "
    "total_pnl_pct, compared, data_revisions, version_changes, look_ahead FROM research.forward_runs "
    "WHERE as_of <= ? QUALIFY as_of = max(as_of) OVER () ORDER BY kind DESC, name, activated_at, version"
)
_EQUITY: Final = (
    "SELECT kind, name, version, activated_at, ts, equity FROM research.forward_equity "
    "WHERE ts <= $1 AND as_of <= $1 ORDER BY kind, name, activated_at, ts, version"
)
_DRIFT: Final = (
    "SELECT as_of, kind, name, version, activated_at, metric, promise, promise_se, forward, difference, effect, low, "
    "high, p, q, trades, rows, days, promise_days, minimum_detectable, decision, reason FROM research.drift "
    "WHERE as_of <= ? QUALIFY as_of = max(as_of) OVER () "
    "ORDER BY decision = 'drift' DESC, decision = 'steady' DESC, q NULLS LAST, p NULLS LAST, kind DESC, name, metric, "
    "activated_at, version"
)
_RETUNES: Final = (
    "SELECT as_of, kind, name, version, reason, state, new_version, detail FROM research.retunes "
    "WHERE as_of > ? AND as_of <= ? ORDER BY as_of, kind, name"
)
_DONE: Final = "SELECT max(as_of) AS as_of FROM research.cycle_events WHERE cycle = ? AND state = 'done' AND as_of <= ?"


@dataclass(frozen=True)
class Forward:
    """The forward side of everything that is followed.

    Attributes
    ----------
    runs : DataFrame
        What the ledger's newest key followed, and how its replay agreed.
    equity : DataFrame
        kind, name, version, activated_at, ts, equity.
    drift : DataFrame
        The newest night's tests, those that found drift first.
    retunes : DataFrame
        What drift set off within the day.
    ledger_time, drift_time : datetime or None
        As-of of the newest key of the ledger that is done, and of the newest night of drift tests; None where none is.
        The rows may be older, where nothing was followed.
    """

    runs: pl.DataFrame
    equity: pl.DataFrame
    drift: pl.DataFrame
    retunes: pl.DataFrame
    ledger_time: datetime | None
    drift_time: datetime | None


def collect_forward(warehouse: Warehouse, as_of: datetime) -> Forward:
    """Return the ledger's state as of the report."""
    return Forward(
        runs=warehouse.read(_RUNS, [as_of]),
        equity=warehouse.read(_EQUITY, [as_of]),
        drift=warehouse.read(_DRIFT, [as_of]),
        retunes=warehouse.read(_RETUNES, [as_of - DAY, as_of]),
        ledger_time=warehouse.read(_DONE, [FORWARD, as_of])["as_of"][0],
        drift_time=warehouse.read(_DONE, [DRIFT, as_of])["as_of"][0],
    )
