"""The trial ledger: how hard was looked before a result was found.

Belongs here: counting what was run on overlapping windows. Does not belong here: the statistics that use the count
(`backtester.overfitting`), writing rows (`assets.results`).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from backtester import Evaluation
from backtester.windows import SEARCH_REACH
from blofin_resources.warehouse import Warehouse

_OVERLAPPING: Final = (
    "SELECT DISTINCT kind, name, version, lanes FROM research.trials "
    "WHERE coalesce(purpose, 'exam') <> 'search' "
    "AND window_start < ? AND window_end > ? AND (as_of < ? OR (as_of = ? AND kind = ?))"
)
_SEARCHED: Final = (
    "SELECT count(*) AS tried FROM (SELECT DISTINCT name, version, lanes FROM research.trials "
    "WHERE purpose = 'search' AND kind = ? AND as_of <= ? AND window_end > ?)"
)

SEARCH: Final = "search"
"""Purpose of a try in a search window: it can only choose what takes an exam, and no exam's result chose it."""

Configuration = tuple[str, str, str, str]
"""What counts as one try: kind, name, version (which holds code and parameters), and the lanes that were scored."""


def count_trials(
    warehouse: Warehouse, kind: str, start: datetime, end: datetime, also: Iterable[Configuration] = ()
) -> int:
    """Return the number of configurations ever run on a window that overlaps [start, end), as of its end.

    Tries of a search are not among them (`count_searched`): their windows end before the exam of what they lead to.
    Not counted are trials of later cycles, and those of another kind at the same as-of, whose cycle may run before or
    after: so a past cycle made again counts what it counted then. `also` names those that are being run now and may not
    be in the ledger yet.
    """
    run: set[Configuration] = set(warehouse.read(_OVERLAPPING, [end, start, end, end, kind]).iter_rows())
    return len(run | set(also))


def count_searched(warehouse: Warehouse, kind: str, as_of: datetime) -> int:
    """Return the number of configurations that searches tried on any part of the 35 days before an as-of."""
    return int(warehouse.read(_SEARCHED, [kind, as_of, as_of - SEARCH_REACH]).item())


def lanes_of(found: Evaluation) -> str:
    """Return the lanes that were scored, as the ledger names them: choosing lanes is a try, too."""
    return ",".join(sorted(f"{lane.symbol}:{lane.timeframe}" for lane in found.scored))


def configuration(found: Evaluation, kind: str) -> Configuration:
    """Return what counts as one try."""
    return (kind, found.name, found.version, lanes_of(found))
