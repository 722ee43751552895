"""Seeds of random draws.

Belongs here: deriving one seed from another. Does not belong here: drawing (`backtester.statistics.bootstrap`).
"""

from datetime import datetime
from hashlib import sha256


def derived_seed(*parts: object, size: int = 8) -> int:
    """Return a seed that belongs to one thing: the same for the same parts, unrelated for any others.

    Parameters
    ----------
    *parts : object
        The seed of the whole and what names the thing; taken as text, times in ISO form.
    size : int
        Bytes of the seed.

    Examples
    --------
    >>> from datetime import UTC
    >>> derived_seed(7, datetime(2026, 3, 13, tzinfo=UTC), "vwap_reversion", size=4)
    3943997274
    """
    text = "|".join(part.isoformat() if isinstance(part, datetime) else str(part) for part in parts)
    return int.from_bytes(sha256(text.encode()).digest()[:size], "big")
