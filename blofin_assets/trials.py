"""The trial ledger: how hard was looked before a result was found.

Belongs here: counting what was run on overlapping windows. Does not belong here: the statistics that use the count
(`backtester.overfitting`), writing rows (`assets.results`).
"""

from collections.abc import Iterable
from datetime import datetime

from backtester import Evaluation
from blofin_resources.warehouse import Warehouse

_OVERLAPPING = (
    "SELECT DISTINCT kind, name, version, lanes FROM research.trials "
    "WHERE window_start < ? AND window_end > ? AND (as_of < ? OR (as_of = ? AND kind = ?))"
)

Configuration = tuple[str, str, str, str]
"""What counts as one try: kind, name, version (which holds code and parameters), and the lanes that were scored."""


def count_trials(
    warehouse: Warehouse, kind: str, start: datetime, end: datetime, also: Iterable[Configuration] = ()
) -> int:
    """Return the number of configurations ever run on a window that overlaps [start, end), as of its end.

    Not counted are trials of later cycles, and those of another kind at the same as-of, whose cycle may run before or
    after: so a past cycle made again counts what it counted then. `also` names those that are being run now and may not
    be in the ledger yet.
    """
    run: set[Configuration] = set(warehouse.read(_OVERLAPPING, [end, start, end, end, kind]).iter_rows())
    return len(run | set(also))


def lanes_of(found: Evaluation) -> str:
    """Return the lanes that were scored, as the ledger names them: choosing lanes is a try, too."""
    return ",".join(sorted(f"{lane.symbol}:{lane.timeframe}" for lane in found.scored))


def configuration(found: Evaluation, kind: str) -> Configuration:
    """Return what counts as one try."""
    return (kind, found.name, found.version, lanes_of(found))
