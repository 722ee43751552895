"""The trial ledger: how many configurations were tried before a result was found.

Belongs here: counting trials on overlapping windows. Does not belong here: the statistics that use the count
(`backtester.statistics.overfitting`), writing rows (`backtest_rows`).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from backtester import Evaluation
from backtester.statistics.windows import SEARCH_REACH
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse

_SEARCHED: Final = (
    "SELECT count(*) AS tried FROM (SELECT DISTINCT name, version, lanes FROM research.trials "
    "WHERE purpose = 'search' AND kind = ? AND as_of <= ? AND window_end > ?)"
)

_SEEN: Final = (
    "SELECT count(*) AS tried FROM (SELECT DISTINCT kind, name, version, lanes FROM research.trials "
    "WHERE coalesce(purpose, 'holdout') <> 'search' AND window_start < ? AND window_end > ?)"
)

Configuration = tuple[str, str, str, str]
"""What counts as one trial: kind, name, version (a hash of code and parameters), and the scored lanes."""


def count_trials(
    warehouse: Warehouse, kind: str, start: datetime, end: datetime, also: Iterable[Configuration] = ()
) -> int:
    """Return the number of distinct configurations run on a window that overlaps [start, end), as of its end.

    Search trials are counted separately (`count_searched`), because their windows end before the holdout. Trials of
    later cycles do not count, nor do those of another kind at the same as-of, whose cycle may run before or after:
    repeating a past cycle gives the same count.

    Parameters
    ----------
    warehouse : Warehouse
        Where the ledger is.
    kind : str
        strategy, model or ensemble.
    start, end : datetime
        The window (UTC).
    also : iterable of Configuration
        Configurations being run now, which may not be in the ledger yet.

    Returns
    -------
    int
        Distinct configurations.
    """
    run: set[Configuration] = set(overlapping_trials(warehouse, kind, start, end))
    return len(run | set(also))


def count_seen(warehouse: Warehouse, start: datetime, end: datetime) -> int:
    """Return the number of distinct configurations ever run on a window that overlaps [start, end), whenever.

    A person who looks at a window again knows what was looked at since, so that later trials count, too; a cycle counts
    what was known at its as-of (`count_trials`).

    Parameters
    ----------
    warehouse : Warehouse
        Where the ledger is.
    start, end : datetime
        The window (UTC).

    Returns
    -------
    int
        Distinct configurations, without those of searches.
    """
    return int(warehouse.read(_SEEN, [end, start]).item())


def overlapping_trials(warehouse: Warehouse, kind: str, start: datetime, end: datetime) -> list[Configuration]:
    """Return the recorded configurations run on a window that overlaps [start, end), as of its end.

    Parameters
    ----------
    warehouse : Warehouse
        Where the ledger is.
    kind : str
        strategy, model or ensemble.
    start, end : datetime
        The window (UTC).

    Returns
    -------
    list of Configuration
        Distinct configurations.
    """
    window = {"kind": kind, "start": start, "end": end}
    return list(warehouse.read(query("shared/overlapping_trials"), window).iter_rows())


def count_searched(warehouse: Warehouse, kind: str, as_of: datetime, reach: timedelta = SEARCH_REACH) -> int:
    """Return the number of configurations that searches tried on any part of the days before an as-of.

    Parameters
    ----------
    warehouse : Warehouse
        Where the ledger is.
    kind : str
        strategy, model, ensemble or book.
    as_of : datetime
        Later trials do not count (UTC).
    reach : timedelta
        How far back a search reaches.

    Returns
    -------
    int
        Distinct names, versions and sets of lanes.
    """
    return int(warehouse.read(_SEARCHED, [kind, as_of, as_of - reach]).item())


def lanes_of(evaluation: Evaluation) -> str:
    """Return the scored lanes as the ledger names them: choosing lanes is part of a trial."""
    return ",".join(sorted(f"{lane.symbol}:{lane.timeframe}" for lane in evaluation.scored))


def configuration(evaluation: Evaluation, kind: str) -> Configuration:
    """Return what counts as one trial."""
    return (kind, evaluation.name, evaluation.version, lanes_of(evaluation))
