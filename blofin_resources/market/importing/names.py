"""Symbols and timeframes in the notation of other programs.

Belongs here: the stated rule from a foreign name to ours. Does not belong here: names of whole files (`recognition`).
"""

import re
from typing import Final

QUOTES: Final = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD", "EUR", "BTC", "ETH", "BNB")
"""Quote currencies of names without a separator; the first that fits is taken."""

TIMEFRAMES: Final = {
    "1m": "1m", "5m": "5m", "15m": "15m", "1h": "60m", "60m": "60m", "1H": "60m", "4h": "4h", "4H": "4h", "240m": "4h",
    "1d": "1d", "1D": "1d",
}  # fmt: skip
"""Notations of other programs -> timeframes of an archive."""

_PARTS: Final = re.compile(r"[-_/:]")
_CODE: Final = re.compile(r"[A-Z0-9]+")
_THOUSANDS: Final = re.compile(r"k(?=[A-Z])")


class NameRefusedError(ValueError):
    """The name is not that of a linear perpetual or spot pair; the message says why."""


def symbol_of(name: str) -> str:
    """Convert the name of a symbol to ``BASE-QUOTE``.

    Separators ``-``, ``_``, ``/`` and ``:`` are the same. A third part is the currency of settlement, which must be the
    quote currency. Without a separator, the name ends with one of `QUOTES`. ``kPEPE`` is ``1000PEPE``: both are
    contracts of a thousand units.

    Raises
    ------
    NameRefusedError
        For a name without a known quote currency, a contract settled in another one, or a dated future.

    Examples
    --------
    >>> [symbol_of(name) for name in ("BTCUSDT", "BTC_USDT_USDT", "BTC/USDT:USDT", "kPEPE-USDT")]
    ['BTC-USDT', 'BTC-USDT', 'BTC-USDT', '1000PEPE-USDT']
    """
    base, *further = _PARTS.split(_THOUSANDS.sub("1000", name, count=1) if name.startswith("k") else name)
    if not further:
        quote = next((each for each in QUOTES if base.upper().endswith(each) and len(base) > len(each)), None)
        if quote is None:
            msg = f"{name} ends with no known quote currency ({', '.join(QUOTES)})"
            raise NameRefusedError(msg)
        base, further = base[: -len(quote)], [quote]
    base, quote, *settled = (part.upper() for part in (base, *further))
    if any(part.isdigit() and len(part) >= len("240329") for part in (quote, *settled)):
        msg = f"{name} is a dated future"
        raise NameRefusedError(msg)
    if quote == "PERP":
        msg = f"{name} is settled in its base currency"
        raise NameRefusedError(msg)
    if settled and settled != [quote]:
        msg = f"{name} is settled in {'-'.join(settled)}, not in its quote currency {quote}"
        raise NameRefusedError(msg)
    if not (_CODE.fullmatch(base) and _CODE.fullmatch(quote)):
        msg = f"{name} is no symbol such as BTC-USDT"
        raise NameRefusedError(msg)
    return f"{base}-{quote}"
