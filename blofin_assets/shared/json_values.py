"""Values as JSON holds them.

Belongs here: rounding and times. Does not belong here: which values a report holds.
"""

import math
from datetime import date, datetime
from typing import Any, Final

MOST: Final = 0.05
"""Break-even costs are searched up to this fraction per side; higher ones are stored as infinity and shown as this."""


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: floats to ten significant digits, times in ISO form, no NaN or infinity."""
    if isinstance(value, float):
        return float(f"{value:.10g}") if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, date | datetime) else value


def at_most(value: float | None) -> float | None:
    """Return a break-even cost; infinity becomes the largest cost tried, because null has another meaning."""
    return MOST if value == math.inf else plain(value)


def ratio(part: float | None, whole: float | None) -> float | None:
    """Return a difference in percent of the absolute reference value; None if that is zero."""
    return None if part is None or not whole else plain(100.0 * part / abs(whole))
