"""The three calendars of the platform and the arithmetic between their keys and times.

Belongs here: Dagster's [partitions](https://docs.dagster.io/guides/build/partitions-and-backfills) and the meaning of
their keys. Does not belong here: which key is due (`scheduling.plan`), what a partition holds (the assets).

A key of a cycle *is* its as-of: the start of Dagster's time window. The window's end is never used. `end_offset=1`
makes a key valid as soon as its as-of is reached; an asset whose as-of lies in the future refuses to run.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""First partition of every calendar and anchor of the 48-hour grid."""

GRID_END: Final = datetime(2050, 1, 1, tzinfo=UTC)
"""Last time up to which the days between the 48-hour grid's points are excluded."""

DAY: Final = timedelta(days=1)
TWO_DAYS: Final = timedelta(days=2)
"""Step of the grid of strategy cycles."""
DAY_FORMAT: Final = "%Y-%m-%d"
HALF_DAY_FORMAT: Final = "%Y-%m-%d-%H:%M"


def _days_off_grid() -> list[datetime]:
    """Return each day between two points of the 48-hour grid, up to `GRID_END`."""
    return [EPOCH + timedelta(days=n) for n in range(1, (GRID_END - EPOCH).days, 2)]


days: Final = dg.TimeWindowPartitionsDefinition(
    start=EPOCH, fmt=DAY_FORMAT, cron_schedule="0 0 * * *", timezone="UTC", end_offset=1
)
"""UTC days, today included. Market data, features, ledger, report D (built at D+1 00:00)."""

half_days: Final = dg.TimeWindowPartitionsDefinition(
    start=EPOCH, fmt=HALF_DAY_FORMAT, cron_schedule="0 0,12 * * *", timezone="UTC", end_offset=1
)
"""As-of times 00:00 and 12:00 UTC. The ML cycle."""

two_days: Final = dg.TimeWindowPartitionsDefinition(
    start=EPOCH,
    fmt=DAY_FORMAT,
    cron_schedule="0 0 * * *",
    timezone="UTC",
    end_offset=1,
    exclusions=_days_off_grid(),
)
"""As-of times on the exact 48-hour grid from `EPOCH`, for which cron has no expression. The strategy cycle.

Cron has no period of 48 hours, so this is a daily calendar with every other day excluded up to `GRID_END`. Beyond that
it would be daily; a test prevents this.
"""


def day_key(moment: datetime) -> str:
    """Return the key of the UTC day that contains `moment`; for a day on the 48-hour grid it is also the grid's key."""
    return moment.astimezone(UTC).strftime(DAY_FORMAT)


def half_day_key(as_of: datetime) -> str:
    """Return the ML cycle's key for an as-of on its grid."""
    return as_of.astimezone(UTC).strftime(HALF_DAY_FORMAT)


def day_start(key: str) -> datetime:
    """Return the start of the day that `key` names; for the 48-hour grid this is the as-of."""
    return datetime.strptime(key, DAY_FORMAT).replace(tzinfo=UTC)


def half_day_start(key: str) -> datetime:
    """Return the as-of of an ML cycle's key."""
    return datetime.strptime(key, HALF_DAY_FORMAT).replace(tzinfo=UTC)
