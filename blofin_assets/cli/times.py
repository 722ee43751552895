"""Times and days as a user types them.

Belongs here: parsing arguments of commands. Does not belong here: anything else about time (`features.bars`).
"""

from datetime import UTC, date, datetime
from typing import Final

from blofin_resources.errors import BlofinError

_YEARS: Final = range(1970, 9999)
"""From the epoch on, and short of the last year, so that days before and after can be reckoned with."""


def parse_moment(text: str | None) -> datetime:
    """Return the UTC time that `text` names (a day, or a day and time; no zone means UTC), or the present one.

    Raises
    ------
    BlofinError
        If it is no time, or lies in the future.
    """
    now = datetime.now(UTC)
    if text is None:
        return now
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        msg = f"--as-of {text!r} is no time; give one such as 2025-06-12T00:00:00Z"
        raise BlofinError(msg) from None
    if moment.year < _YEARS.start:
        msg = f"--as-of {text} is before {_YEARS.start}; give a time such as 2025-06-12T00:00:00Z"
        raise BlofinError(msg)
    if moment > now:
        msg = f"--as-of {text} lies in the future; it is {now:%Y-%m-%dT%H:%MZ}"
        raise BlofinError(msg)
    return moment


def parse_day(text: str) -> date:
    """Return the day that `text` names.

    Raises
    ------
    BlofinError
        If it is no day, or one before 1970 or after 9998.
    """
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        msg = f"{text!r} is no day; give one such as 2025-06-11"
        raise BlofinError(msg) from None
    if day.year not in _YEARS:
        msg = f"{day} is out of range, which is the years {_YEARS.start} to {_YEARS[-1]}; give a day such as 2025-06-11"
        raise BlofinError(msg)
    return day
