"""Times and days as a user types them.

Belongs here: parsing arguments of commands. Does not belong here: arithmetic of bars (`features.bars`).
"""

from datetime import UTC, date, datetime
from typing import Final

from blofin_resources.errors import BlofinError

_YEARS: Final = range(1970, 9999)
"""Valid years: from the epoch on, and below the last one, so that neighbouring days exist."""


def parse_moment(text: str | None, option: str = "--as-of") -> datetime:
    """Return the UTC time in `text` (a day, or a day and time; UTC without a zone), or the current time if it is None.

    Parameters
    ----------
    text : str or None
        As typed.
    option : str
        Where it was typed, for messages.

    Raises
    ------
    BlofinError
        If it is not a valid time, or is in the future.
    """
    now = datetime.now(UTC)
    if text is None:
        return now
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        msg = f"{option}: {text!r} is not a valid time (example: 2025-06-12T00:00:00Z)"
        raise BlofinError(msg) from None
    if moment.year < _YEARS.start:
        msg = f"{option} {text} is before {_YEARS.start}; give a time such as 2025-06-12T00:00:00Z"
        raise BlofinError(msg)
    if moment > now:
        msg = f"{option} {text} is in the future; it is {now:%Y-%m-%dT%H:%MZ}"
        raise BlofinError(msg)
    return moment


def parse_day(text: str) -> date:
    """Return the day in `text`.

    Raises
    ------
    BlofinError
        If it is not a valid day, or before 1970 or after 9998.
    """
    try:
        day = date.fromisoformat(text.strip())
    except ValueError:
        msg = f"{text!r} is not a valid day (example: 2025-06-11)"
        raise BlofinError(msg) from None
    if day.year not in _YEARS:
        msg = f"{day} is outside the years {_YEARS.start} to {_YEARS[-1]}; give a day such as 2025-06-11"
        raise BlofinError(msg)
    return day
