"""What is due at a time, in which order: one pure function that `blofin run` and the daemon share.

Belongs here: cadences, the order of steps, catching up after downtime. Does not belong here: how a step is executed
(`runner`), how it is known what has been done (`progress`), Dagster.

One Dagster job cannot hold two partition calendars, and schedules of the same minute have no order. So order lives
here: market data first, then at each as-of the strategy cycle, the ML cycle, the forward ledger of what these made
active, drift, and the report of the day that ended.

A strategy or ML cycle goes on from the one before it: what it finds active, and what becomes of that, are events in the
order of their as-ofs. So none of them is made after a later one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Protocol

from blofin_assets.partitions import DAY, EPOCH, day_key, half_day_key
from features.bars import floor_time

MARKET_DATA: Final = "market_data"
STRATEGY_CYCLE: Final = "strategy_cycle"
ML_CYCLE: Final = "ml_cycle"
FORWARD: Final = "forward"
DRIFT: Final = "drift"
REPORT: Final = "report"

HALF_DAY: Final = timedelta(hours=12)

MAX_DAYS_A_RUN: Final = 62
"""Days of market data that one run handles; longer ranges become several runs, oldest first."""


@dataclass(frozen=True)
class Step:
    """One run: a job over one partition key or an inclusive range of keys.

    Attributes
    ----------
    job, first_key, last_key
        What to run. Equal keys where it is one partition.
    as_of
        Nothing later than this may be read.
    """

    job: str
    first_key: str
    last_key: str
    as_of: datetime

    @property
    def run_key(self) -> str:
        """Name under which the daemon requests the step once: `<cycle>:<key>`.

        Market data for a day that is not over is due again with each hour, so its as-of is part of the name.
        """
        if self.job == MARKET_DATA:
            return f"{self.job}:{self.first_key}...{self.last_key}@{self.as_of:%Y-%m-%dT%H}"
        return f"{self.job}:{self.first_key}"


@dataclass(frozen=True)
class Cadence:
    """How often a cycle comes: its as-of times are `EPOCH + k * every`.

    Attributes
    ----------
    job
        Name of the Dagster job.
    every
        Time between two as-of times.
    catch_up
        Most as-of times that are made up for after downtime; older ones are recorded as skipped.
    in_order
        Whether each goes on from the one before it, so that none is made up for once a later one is done.
    """

    job: str
    every: timedelta
    catch_up: int
    in_order: bool = False

    def floor(self, moment: datetime) -> datetime:
        """Return the last as-of that is not after `moment`."""
        return floor_time(moment, self.every, EPOCH)

    def key(self, as_of: datetime) -> str:
        """Return the partition key of an as-of. The report of day D is made at D+1 00:00 and named D."""
        if self.job == REPORT:
            return day_key(as_of - DAY)
        return half_day_key(as_of) if self.every == HALF_DAY else day_key(as_of)

    def step(self, as_of: datetime) -> Step:
        """Return the step at one of the as-of times."""
        key = self.key(as_of)
        return Step(self.job, key, key, as_of)


CADENCES: Final = (
    Cadence(STRATEGY_CYCLE, timedelta(hours=48), catch_up=3, in_order=True),
    Cadence(ML_CYCLE, HALF_DAY, catch_up=6, in_order=True),
    Cadence(FORWARD, HALF_DAY, catch_up=6),
    Cadence(DRIFT, DAY, catch_up=3),
    Cadence(REPORT, DAY, catch_up=7),
)
"""The cycles, in the order in which they run when they share an as-of."""

IN_ORDER: Final = frozenset(cadence.job for cadence in CADENCES if cadence.in_order)
"""Jobs of which a key waits for the open ones before it."""

MARKET_CADENCE: Final = timedelta(hours=1)
"""Market data is brought up to the last full hour."""


@dataclass(frozen=True)
class Plan:
    """What is due, in order, and which older as-of times are given up.

    Attributes
    ----------
    steps
        To be run one after the other; a step waits for its predecessors.
    skipped
        Steps older than the catch-up limit, to be recorded as skipped.
    """

    steps: tuple[Step, ...]
    skipped: tuple[Step, ...] = ()


class Progress(Protocol):
    """What has been done, as the warehouse shows it."""

    def missing_days(self, first: date, as_of: datetime) -> Sequence[date]:
        """Return the days from `first` whose market data or features do not reach min(day's end, `as_of`).

        Days of late with open gaps are among them once an hour: the source may have filled them.
        """
        ...

    def done(self, job: str) -> frozenset[datetime]:
        """Return the as-of times at which the job has succeeded, or is too old to be made up for.

        One that failed too often for the daemon is not among them: asked for again, it is tried again.
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

    Notes
    -----
    A cycle is due at each of its as-of times after the latest one done, so that downtime is caught up; at an as-of
    before that, only itself, since somebody asked for it. On a warehouse without history it is due from the as-of of
    the report that is due, so that the first report has something to report.
    """
    due: list[tuple[datetime, int, Step]] = []
    skipped: list[Step] = []
    for order, cadence in enumerate(CADENCES):
        times, given_up = due_times(cadence, as_of, progress.done(cadence.job))
        due += [(time, order, cadence.step(time)) for time in times]
        skipped += [cadence.step(time) for time in given_up]
    steps = market_steps(as_of, start, progress)
    return Plan((*steps, *(step for _, _, step in sorted(due, key=lambda item: item[:2]))), tuple(skipped))


def market_steps(as_of: datetime, start: date, progress: Progress) -> list[Step]:
    """Return the runs that bring market data and features up to the last full hour, oldest first."""
    market_as_of = floor_time(as_of, MARKET_CADENCE)
    return [
        Step(MARKET_DATA, days[0].isoformat(), days[-1].isoformat(), market_as_of)
        for days in _ranges(progress.missing_days(start, market_as_of))
    ]


def due_times(
    cadence: Cadence, as_of: datetime, done: frozenset[datetime]
) -> tuple[tuple[datetime, ...], tuple[datetime, ...]]:
    """Return the as-of times of a cadence that are due and those that are given up, each oldest first.

    A time between others that are done is due as well, as long as catching up reaches back to it, unless the cadence
    goes in order.
    """
    latest = cadence.floor(as_of)
    earlier = [time for time in done if time < latest]
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
    """Return the times of a cadence in a stretch, both ends included, that are not done."""
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
