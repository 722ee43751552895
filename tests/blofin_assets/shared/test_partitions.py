"""The three calendars: exact over years, ticks included."""

import itertools
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from blofin_assets.shared.partitions import (
    EPOCH,
    GRID_END,
    day_key,
    day_start,
    days,
    half_day_key,
    half_day_start,
    half_days,
    two_days,
)

NOW = datetime(2026, 11, 20, 17, 30, tzinfo=UTC)


def keys_at(calendar: dg.TimeWindowPartitionsDefinition, moment: datetime) -> list[str]:
    return list(calendar.get_partition_keys(current_time=moment))


def test_today_and_the_present_as_of_are_partitions() -> None:
    assert keys_at(days, NOW)[-1] == "2026-11-20"
    assert keys_at(half_days, NOW)[-1] == "2026-11-20-12:00"
    assert keys_at(half_days, datetime(2026, 11, 21, tzinfo=UTC))[-1] == "2026-11-21-00:00"


def test_the_48_hour_grid_is_exact_over_two_years_and_across_every_month_end() -> None:
    times = [day_start(key) for key in keys_at(two_days, NOW) if day_start(key).year in (2025, 2026)]
    assert len(times) > 340
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {timedelta(hours=48)}
    assert all((time - EPOCH) % timedelta(hours=48) == timedelta(0) for time in times)


@pytest.mark.slow
def test_a_new_grid_point_appears_every_48_hours_and_not_between() -> None:
    seen = [keys_at(two_days, EPOCH + timedelta(days=2000, hours=12 * tick))[-1] for tick in range(60)]
    changes = [n for n in range(1, 60) if seen[n] != seen[n - 1]]
    assert {later - earlier for earlier, later in itertools.pairwise(changes)} == {4}


def test_the_grid_has_at_least_five_years_of_exclusions_left() -> None:
    # Past its end the grid would silently turn daily: extend GRID_END when this fails.
    assert GRID_END - datetime.now(UTC) > timedelta(days=5 * 365)
    ahead = keys_at(two_days, GRID_END - timedelta(days=1))
    assert day_start(ahead[-1]) - day_start(ahead[-2]) == timedelta(days=2)


@pytest.mark.parametrize("moment", [EPOCH, NOW.replace(hour=12, minute=0), datetime(2028, 2, 29, tzinfo=UTC)])
def test_keys_and_times_are_each_others_inverse(moment: datetime) -> None:
    assert half_day_start(half_day_key(moment)) == moment
    assert day_start(day_key(moment)) == moment.replace(hour=0)
