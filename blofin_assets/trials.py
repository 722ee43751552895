"""The trial ledger: how hard was looked before a result was found.

Belongs here: counting what was run on overlapping windows. Does not belong here: the statistics that use the count
(`backtester.overfitting`), writing rows (`assets.results`).
"""

from datetime import datetime

from blofin_resources.warehouse import Warehouse

_OVERLAPPING = (
    "SELECT count(DISTINCT (kind, name, version)) AS n FROM research.trials "
    "WHERE window_start < ? AND window_end > ? AND as_of <= ?"
)


def count_trials(warehouse: Warehouse, start: datetime, end: datetime) -> int:
    """Return the number of configurations ever run on a window that overlaps [start, end), as of its end.

    Trials of later cycles are not counted, so that a past cycle made again counts what it counted then.
    """
    return int(warehouse.read(_OVERLAPPING, [end, start, end]).item())
