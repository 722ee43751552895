"""The nearest known name to one that is not known, for error messages.

Belongs here: finding the name. Does not belong here: deciding what is known.
"""

import difflib
import itertools
import re
from collections.abc import Iterable
from typing import Final

CUTOFF: Final = 0.7
"""Least similarity (`difflib.SequenceMatcher.ratio`) of a name that is suggested."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was most likely meant, or None if none is near.

    Case and punctuation are ignored, so `btcusdt` finds `BTC-USDT`. A prefix or suffix finds the first known name that
    has it: `BTC` finds `BTC-USDT`. An ending shared by all known names is ignored: `FOO-USDT` is not near `SOL-USDT`.

    Examples
    --------
    >>> nearest("btcusdt", ["BTC-USDT", "ETH-USDT"])
    'BTC-USDT'
    >>> nearest("ETH", ["BTC-USDT", "ETH-USDT"])
    'ETH-USDT'
    >>> nearest("FOO-USDT", ["SOL-USDT", "ETH-USDT"]) is None
    True
    """
    plain: dict[str, str] = {}
    for each in known:
        plain.setdefault(_plain(each), each)
    wanted = _plain(name)
    ending = _common_ending(list(plain)) if len(plain) > 1 else ""
    if ending and wanted.endswith(ending):
        wanted = wanted.removesuffix(ending)
        plain = {each.removesuffix(ending): told for each, told in plain.items()}
    near = difflib.get_close_matches(wanted, plain, n=1, cutoff=CUTOFF)
    near += [each for each in plain if wanted and (each.startswith(wanted) or each.endswith(wanted))]
    return plain[near[0]] if near else None


def did_you_mean(names: Iterable[str], known: Iterable[str]) -> str:
    """Return a hint for unknown names, or an empty text if no known name is near.

    Examples
    --------
    >>> did_you_mean(["BTCUSDT"], ["BTC-USDT", "ETH-USDT"])
    ' (did you mean BTC-USDT?)'
    >>> did_you_mean(["XYZ"], ["BTC-USDT", "ETH-USDT"])
    ''
    """
    pool = list(known)
    found = dict.fromkeys(near for name in names if (near := nearest(name, pool)) is not None)
    return f" (did you mean {', '.join(found)}?)" if found else ""


def _common_ending(names: list[str]) -> str:
    """Return the longest text that all names end with."""
    columns = zip(*(reversed(name) for name in names), strict=False)
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, columns)
    return "".join(letters[0] for letters in same)[::-1]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()
