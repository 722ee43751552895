"""Times and days as typed: what is none, or cannot be reckoned with, is refused in words."""

from datetime import UTC, date, datetime

import pytest

from blofin_assets.cli.times import parse_day, parse_moment
from blofin_resources.errors import BlofinError


@pytest.mark.parametrize("text", ["9999-12-31", "9999-01-01", "1969-12-31", "0001-01-01"])
def test_a_day_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(BlofinError, match=f"{text} is outside the years 1970 to 9998"):
        parse_day(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00+05:00", "9999-12-31T23:00-05:00", "0001-01-01", "1969-12-31"])
def test_a_time_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(BlofinError, match=r"--as-of.* (is not a valid time|is before 1970)"):
        parse_moment(text)


def test_days_and_times_within_are_read() -> None:
    assert parse_day(" 9998-12-31 ") == date(9998, 12, 31)
    assert parse_moment("1970-01-02T03:00+03:00") == datetime(1970, 1, 2, tzinfo=UTC)
