"""The trial ledger: how hard was looked before a result was found.

Belongs here: counting what was run on overlapping windows. Does not belong here: the statistics that use the count
(`backtester.overfitting`), writing rows (`assets.results`).
"""

from collections.abc import Iterable
from datetime import datetime

from blofin_resources.warehouse import Warehouse

_OVERLAPPING = (
    "SELECT DISTINCT kind, name, version FROM research.trials WHERE window_start < ? AND window_end > ? AND as_of <= ?"
)

Configuration = tuple[str, str, str]
"""What counts as one try: kind, name and version, which holds code and parameters."""


def count_trials(warehouse: Warehouse, start: datetime, end: datetime, also: Iterable[Configuration] = ()) -> int:
    """Return the number of configurations ever run on a window that overlaps [start, end), as of its end.

    Trials of later cycles are not counted, so that a past cycle made again counts what it counted then; `also` names
    those that are being run now and may not be in the ledger yet.
    """
    run: set[Configuration] = set(warehouse.read(_OVERLAPPING, [end, start, end]).iter_rows())
    return len(run | set(also))
