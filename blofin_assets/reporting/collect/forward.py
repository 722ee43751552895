"""The forward side: the forward ledger and the drift tests.

Belongs here: reading the ledger's state as of the report. Does not belong here: the drift tests themselves.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from blofin_assets.shared.cadences import DRIFT, FORWARD
from blofin_assets.shared.partitions import DAY
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse

_EQUITY: Final = (
    "SELECT kind, name, version, activated_at, ts, equity FROM research.forward_equity "
    "WHERE ts <= $1 AND as_of <= $1 ORDER BY kind, name, activated_at, ts, version"
)
_RETUNES: Final = (
    "SELECT as_of, kind, name, version, reason, state, new_version, detail FROM research.retunes "
    "WHERE as_of > ? AND as_of <= ? ORDER BY as_of, kind, name"
)
_DONE: Final = (
    "SELECT max(as_of) AS as_of FROM research.cycle_history WHERE cycle = ? AND state = 'done' AND as_of <= ?"
)


@dataclass(frozen=True)
class Forward:
    """Forward results of everything that is tracked.

    Attributes
    ----------
    runs : DataFrame
        Runs of the ledger's newest key, with the differences of its replay.
    equity : DataFrame
        kind, name, version, activated_at, ts, equity.
    drift : DataFrame
        The newest drift tests, drift first.
    retunes : DataFrame
        Actions triggered by drift within the day.
    positions : DataFrame
        What the ledger holds: kind, name, symbol, timeframe, side, entry_ts, entry_price, last_price, move_pct.
    ledger_time, drift_time : datetime or None
        As-of of the newest completed key of the ledger and of the newest drift run; None if there is none. The rows may
        be older, if nothing was tracked.
    """

    runs: pl.DataFrame
    equity: pl.DataFrame
    drift: pl.DataFrame
    retunes: pl.DataFrame
    positions: pl.DataFrame
    ledger_time: datetime | None
    drift_time: datetime | None


def collect_forward(warehouse: Warehouse, as_of: datetime) -> Forward:
    """Return the ledger's state as of the report."""
    return Forward(
        runs=warehouse.read(query("reporting/forward_runs"), {"as_of": as_of}),
        equity=warehouse.read(_EQUITY, [as_of]),
        drift=warehouse.read(query("reporting/drift"), {"as_of": as_of}),
        retunes=warehouse.read(_RETUNES, [as_of - DAY, as_of]),
        positions=warehouse.read(query("reporting/forward_open"), {"as_of": as_of}),
        ledger_time=warehouse.read(_DONE, [FORWARD, as_of])["as_of"][0],
        drift_time=warehouse.read(_DONE, [DRIFT, as_of])["as_of"][0],
    )
