"""The window and the as-of of a run, from its partition and the clock.

Belongs here: the time that a partition key stands for. Does not belong here: partitions (`partitions`), asset
definitions (`asset`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from blofin_assets.shared.partitions import DAY, day_start
from blofin_resources.dagster_resources import ClockResource
from blofin_resources.errors import BlofinError
from features.bars import floor_time


@dataclass(frozen=True)
class DayWindow:
    """The days that a run's keys name, cut at its as-of.

    Attributes
    ----------
    days
        The days, oldest first, without those that have not begun.
    start, end
        First instant, and the end of the last day or the as-of, whichever comes first.
    """

    days: tuple[date, ...]
    start: datetime
    end: datetime

    def by_day(self) -> list[tuple[datetime, datetime]]:
        """Return start and end of each day, the last one cut at the as-of."""
        return [(start, min(start + DAY, self.end)) for start in map(_midnight, self.days)]

    def pieces(self, symbols: Sequence[str], rows: int, most: int) -> Iterator[tuple[list[str], "DayWindow"]]:
        """Divide the window, so that what is held at once does not grow with symbols times days.

        Parameters
        ----------
        symbols : sequence of str
            Symbols to divide as well, where a single day of all is too much.
        rows : int
            Rows of one symbol and day.
        most : int
            Rows of a piece; a day of one symbol is never divided.

        Yields
        ------
        tuple of (list of str, DayWindow)
            Symbols and days, the earliest days first.
        """
        some = max(1, min(len(symbols), most // rows))
        length = max(1, most // (rows * some))
        for first in range(0, len(self.days), length):
            days = self.days[first : first + length]
            part = DayWindow(days, _midnight(days[0]), min(_midnight(days[-1]) + DAY, self.end))
            for place in range(0, len(symbols), some):
                yield list(symbols[place : place + some]), part


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def whole_window(start: datetime, end: datetime) -> DayWindow:
    """Return the window of the days that begin in [start, end), or the one that `start` is in."""
    first, last = start.date(), max(start, end - timedelta(microseconds=1)).date()
    return DayWindow(tuple(first + n * DAY for n in range((last - first).days + 1)), start, end)


def day_window(context: dg.AssetExecutionContext, clock: ClockResource) -> DayWindow:
    """Return the window of a run over day partitions.

    Raises
    ------
    BlofinError
        If the first day lies in the future.
    """
    as_of = clock.as_of(context.run)
    starts = [day_start(key) for key in context.partition_keys]
    begun = [start for start in starts if start < as_of]
    if not begun:
        raise BlofinError(_future(context.partition_keys[0], as_of))
    return DayWindow(tuple(start.date() for start in begun), begun[0], min(begun[-1] + DAY, as_of))


def cycle_as_of(
    context: dg.AssetExecutionContext, clock: ClockResource, start_of: Callable[[str], datetime]
) -> datetime:
    """Return the as-of of a cycle's partition key, of a range of keys that of the last one.

    Parameters
    ----------
    context : AssetExecutionContext
        The run.
    clock : ClockResource
        The current time.
    start_of : callable
        From a key to its time.

    Returns
    -------
    datetime
        UTC.

    Raises
    ------
    BlofinError
        If it is in the future.
    """
    last = context.partition_keys[-1]
    as_of = start_of(last)
    if as_of > clock.now():
        raise BlofinError(_future(last, clock.now()))
    return as_of


def _future(key: str, now: datetime) -> str:
    return f"{key} is in the future; it is {now:%Y-%m-%dT%H:%MZ}; choose an earlier key"


def run_window(context: dg.AssetCheckExecutionContext, clock: ClockResource) -> tuple[datetime, datetime]:
    """Return the window that a run's keys name, cut at its as-of."""
    keys, as_of = _keys(context), clock.as_of(context.run)
    if keys is None:
        return as_of - DAY, as_of
    return day_start(keys[0]), min(day_start(keys[1]) + DAY, as_of)


def run_midnight(context: dg.AssetCheckExecutionContext, clock: ClockResource) -> datetime:
    """Return the midnight that a run's last key names; the last one before its as-of where it has no keys."""
    keys = _keys(context)
    return floor_time(clock.as_of(context.run), DAY) if keys is None else day_start(keys[1])


def _keys(context: dg.AssetCheckExecutionContext) -> tuple[str, str] | None:
    """Return the first and the last key of a run."""
    tags = context.run.tags
    first = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_start")
    last = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_end")
    return None if first is None or last is None else (first, last)


def partition_key(context: dg.AssetCheckExecutionContext) -> str:
    """Return the key of the run: these assets are never run over a range."""
    return context.run.tags["dagster/partition"]
