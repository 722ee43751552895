"""Numbers and names as a person reads them.

Belongs here: digits, units, dashes. Does not belong here: which number stands where.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Final

NONE: Final = "–"
"""What stands where there is no number; the text beside it says why."""


def number(value: float | None, digits: int = 2) -> str:
    """Show a number with thousands' separators."""
    return NONE if value is None else f"{value:,.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 2) -> str:
    """Show a number that already is a percentage, with its sign."""
    return NONE if value is None else f"{value:+.{digits}f} %".replace("-", "−")


def share(value: float | None, digits: int = 1) -> str:
    """Show a fraction as a percentage."""
    return NONE if value is None else f"{100 * value:.{digits}f} %".replace("-", "−")


def basis_points(value: float | None) -> str:
    """Show a break-even cost a side; null is a result below zero even without it, 5 % the most that was tried."""
    if value is None:
        return "loses without"
    return "above 500 bp" if value >= 0.05 else f"{1e4 * value:.1f} bp"  # noqa: PLR2004 - the most that was tried


def significant(value: float | None) -> str:
    """Show a number of any size to three digits."""
    return NONE if value is None else f"{value:.3g}".replace("-", "−")


def dollars(value: float | None) -> str:
    """Show US dollars; small amounts to a hundredth of a cent."""
    if value is None:
        return NONE
    return f"${value:.2f}" if value == 0 or value >= 1 else f"${value:.4f}"


def yes_no(value: bool | None) -> str:
    """Show a truth value."""
    return NONE if value is None else "yes" if value else "no"


def words(value: object) -> str:
    """Show a text; lists joined by commas."""
    if value is None or value == "":
        return NONE
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def moment(value: str | datetime | None) -> str:
    """Show a time to the minute, UTC."""
    if value is None:
        return NONE
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{time:%Y-%m-%d %H:%M}"


Format = Callable[[Any], str]

FORMATS: Final[dict[str, Format]] = {
    "int": partial(number, digits=0),
    "n1": partial(number, digits=1),
    "n2": number,
    "n3": partial(number, digits=3),
    "n4": partial(number, digits=4),
    "pct": percent,
    "pct3": partial(percent, digits=3),
    "share": share,
    "share0": partial(share, digits=0),
    "share2": partial(share, digits=2),
    "bp": basis_points,
    "sig": significant,
    "usd": dollars,
    "yes": yes_no,
    "text": words,
    "time": moment,
}
"""Formats by the name that tables and templates call them."""
