"""The steps that are due at a time, in order: one pure function that `blofin run` and the daemon share.

Belongs here: the order of steps, catching up after downtime. Does not belong here: executing a step (`runner`), reading
what has been done (`progress`), Dagster.

One Dagster job cannot hold two partition calendars, and schedules of the same minute have no order. So the
order is defined here: market data first, then deep history, then at each as-of the strategy cycle, the ML cycle, the
forward ledger, the drift tests, and the report of the day that ended.

A strategy or ML cycle depends on its predecessor: the active population, and each change of it, are events in order of
their as-ofs. So no cycle runs after a later one, not even if its as-of is requested.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Protocol

from blofin_assets.shared.cadences import (
    CADENCES,
    DEEP_CADENCE,
    DEEP_HISTORY,
    IN_ORDER,
    MARKET_CADENCE,
    MARKET_DATA,
    Cadence,
    Step,
)
from blofin_assets.shared.partitions import DAY, day_key
from features.bars import floor_time

MAX_DAYS_A_RUN: Final = 62
"""Most days of market data in one run; longer ranges become several runs, oldest first."""


@dataclass(frozen=True)
class Plan:
    """The due steps in order, and the older as-of times that are abandoned.

    Attributes
    ----------
    steps
        Due steps; each waits for its predecessors.
    skipped
        Steps older than the catch-up limit, to be recorded as skipped.
    passed
        Cycles of the as-of itself that can no longer run, each with the as-of of the newest one done.
    """

    steps: tuple[Step, ...]
    skipped: tuple[Step, ...] = ()
    passed: tuple[tuple[Step, datetime], ...] = ()


class Progress(Protocol):
    """What has been done, according to the warehouse."""

    def missing_days(self, first: date, as_of: datetime) -> Sequence[date]:
        """Return the days from `first` whose market data or features do not reach min(day's end, `as_of`).

        Recent days with open gaps are included once an hour: the source may have filled them.
        """
        ...

    def deep_due(self, as_of: datetime) -> bool:
        """Return whether deep history or the universe lacks something up to the midnight `as_of`."""
        ...

    def done(self, job: str) -> frozenset[datetime]:
        """Return the as-of times at which the job has succeeded, or which are too old to be caught up.

        An as-of that failed too often for the daemon is not among them: if it is requested, it runs again.
        """
        ...


def plan(as_of: datetime, start: date, progress: Progress) -> Plan:
    """Return what is due at `as_of`, oldest first.

    Parameters
    ----------
    as_of
        Time of the decision; floored to each cadence.
    start
        First market day.
    progress
        What has been done.

    Returns
    -------
    Plan
        Due and abandoned steps.

    Notes
    -----
    A cycle is due at each of its as-of times after the latest one done, so that downtime is caught up. At an earlier
    as-of only the requested cycle is due, and not even that one if the cadence runs in order. In an empty warehouse
    cycles are due from the as-of of the due report on, so that the first report has content.
    """
    due: list[tuple[datetime, int, Step]] = []
    skipped: list[Step] = []
    passed: list[tuple[Step, datetime]] = []
    done = {cadence.job: progress.done(cadence.job) for cadence in CADENCES}
    begun = begin_of(done)
    for order, cadence in enumerate(CADENCES):
        times, given_up = due_times(cadence, as_of, done[cadence.job], begun)
        due += [(time, order, cadence.step(time)) for time in times]
        skipped += [cadence.step(time) for time in given_up]
        requested = cadence.floor(as_of)
        newest = max(done[cadence.job], default=requested)
        if cadence.in_order and requested not in done[cadence.job] and newest > requested:
            passed.append((cadence.step(requested), newest))
    steps = market_steps(as_of, start, progress)
    cycles = (step for _, _, step in sorted(due, key=lambda item: item[:2]))
    return Plan((*steps, *deep_steps(as_of, progress), *cycles), tuple(skipped), tuple(passed))


def begin_of(done: Mapping[str, Collection[datetime]]) -> datetime | None:
    """Return the first time by which each cadence that runs in order had a cycle; None without any.

    Parameters
    ----------
    done
        As-of times that are done, by job.
    """
    return max((min(done[job]) for job in IN_ORDER if done.get(job)), default=None)


def market_steps(as_of: datetime, start: date, progress: Progress) -> list[Step]:
    """Return the runs that bring market data and features up to the last full hour, oldest first.

    Parameters
    ----------
    as_of : datetime
        Time of the pass (UTC).
    start : date
        First market day.
    progress : Progress
        What is stored already.

    Returns
    -------
    list of Step
        Ranges of days.
    """
    market_as_of = floor_time(as_of, MARKET_CADENCE)
    return [
        Step(MARKET_DATA, days[0].isoformat(), days[-1].isoformat(), market_as_of)
        for days in _ranges(progress.missing_days(start, market_as_of))
    ]


def deep_steps(as_of: datetime, progress: Progress) -> list[Step]:
    """Return the run that brings deep history and the universe up to the last midnight, where one is due.

    Parameters
    ----------
    as_of : datetime
        Time of the pass (UTC).
    progress : Progress
        What is stored already.

    Returns
    -------
    list of Step
        One step or none: it fetches everything that is lacking, so no day is caught up on its own.
    """
    midnight = floor_time(as_of, DEEP_CADENCE)
    key = day_key(midnight)
    return [Step(DEEP_HISTORY, key, key, midnight)] if progress.deep_due(midnight) else []


def due_times(
    cadence: Cadence, as_of: datetime, done: frozenset[datetime], begun: datetime | None = None
) -> tuple[tuple[datetime, ...], tuple[datetime, ...]]:
    """Return the as-of times of a cadence that are due, and those that are abandoned.

    A missing time between completed ones is due as well, within the reach of catching up, unless the cadence must run
    in order. Times before `begun` are not due: a report of an earlier day, built on request, makes no days between due.

    Parameters
    ----------
    cadence : Cadence
        The cadence.
    as_of : datetime
        Time of the pass (UTC).
    done : frozenset of datetime
        Completed as-of times.
    begun : datetime, optional
        The platform's first cycle.

    Returns
    -------
    tuple of tuple of datetime
        Due and abandoned times, each oldest first.
    """
    latest = cadence.floor(as_of)
    if cadence.in_order and max(done, default=latest) > latest:
        return (), ()
    since = cadence.floor(begun) if begun is not None else min(done, default=latest)
    earlier = [time for time in done if since <= time < latest]
    if not done:
        first = min(latest, cadence.floor(floor_time(as_of, DAY)))
    elif not earlier or max(done) > latest:
        first = latest
    elif cadence.in_order:
        first = max(done) + cadence.every
    else:
        reach = latest - (cadence.catch_up - 1) * cadence.every
        first = min([max(earlier) + cadence.every, *_holes(cadence, max(min(earlier), reach), latest, done)])
    times = [first + n * cadence.every for n in range((latest - first) // cadence.every + 1)]
    open_times = [time for time in times if time not in done]
    return tuple(open_times[-cadence.catch_up :]), tuple(open_times[: -cadence.catch_up])


def _holes(cadence: Cadence, first: datetime, last: datetime, done: frozenset[datetime]) -> list[datetime]:
    """Return the times of a cadence in a closed interval that are not done."""
    times = (first + n * cadence.every for n in range((last - first) // cadence.every + 1))
    return [time for time in times if time not in done]


def _ranges(missing: Sequence[date]) -> list[list[date]]:
    """Group days into runs of consecutive days, none longer than `MAX_DAYS_A_RUN`."""
    ranges: list[list[date]] = []
    for day in sorted(missing):
        if ranges and day - ranges[-1][-1] == DAY and len(ranges[-1]) < MAX_DAYS_A_RUN:
            ranges[-1].append(day)
        else:
            ranges.append([day])
    return ranges
