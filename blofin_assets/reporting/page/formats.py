"""Numbers and names formatted for readers.

Belongs here: digits, units, dashes. Does not belong here: which number is shown where.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Final

NONE: Final = "–"
"""Shown instead of a missing number; the text beside it gives the reason."""


def number(value: float | None, digits: int = 2) -> str:
    """Show a number with thousands' separators."""
    return NONE if value is None else f"{value:,.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 2) -> str:
    """Show a number that already is a percentage, with its sign."""
    return NONE if value is None else f"{value:+.{digits}f} %".replace("-", "−")


def share(value: float | None, digits: int = 1) -> str:
    """Show a fraction as a percentage."""
    return NONE if value is None else f"{100 * value:.{digits}f} %".replace("-", "−")


def break_even(value: float | None, trades: int | None) -> str:
    """Show a break-even cost per side; null is a loss even without costs, and 5 % is the largest cost tried."""
    if not trades:
        return "no trades"
    if value is None:
        return "loses without"
    return "above 500 bp" if value >= 0.05 else f"{1e4 * value:.1f} bp"  # noqa: PLR2004 - the most that was tried


def plus_minus(value: float | None, error: float | None, digits: int) -> str:
    """Show a number ± its standard error.

    Parameters
    ----------
    value : float or None
        The number; a dash if None.
    error : float or None
        Its standard error; left out if None.
    digits : int
        Digits after the point.

    Returns
    -------
    str
        Such as `1.20 ± 0.35`.
    """
    shown = number(value, digits)
    return shown if value is None or error is None else f"{shown} ± {number(error, digits)}"


def interval(value: float | None, low: float | None, high: float | None, digits: int) -> str:
    """Show a number with its interval.

    Parameters
    ----------
    value : float or None
        The number; a dash if None.
    low, high : float or None
        Ends of the interval.
    digits : int
        Digits after the point.

    Returns
    -------
    str
        Such as `1.20 (0.85 to 1.55)`.
    """
    return NONE if value is None else f"{number(value, digits)} ({number(low, digits)} to {number(high, digits)})"


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


def day(value: str | datetime | None) -> str:
    """Return the day of a time, `–` if it is absent."""
    return moment(value).partition(" ")[0]


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
    "sig": significant,
    "usd": dollars,
    "yes": yes_no,
    "text": words,
    "time": moment,
    "day": day,
}
"""Formats by the name that tables and templates call them."""


def expected(ratio: float | None, low: float | None, high: float | None) -> str:
    """Return a Sharpe ratio to expect, and in brackets the interval of the next month.

    Parameters
    ----------
    ratio, low, high : float or None
        Annualised; null where nothing is expected.

    Returns
    -------
    str
        Such as `0.4 (-6.1 to 7.0)`; a dash without a ratio.
    """
    return "–" if ratio is None else f"{number(ratio, 1)} ({number(low, 1)} to {number(high, 1)})"
