"""Untrusted text (data, files, the exchange, Claude) made safe for where it is shown.

Belongs here: one function per place. Does not belong here: pages, whose templates escape by themselves.
"""

import re
from typing import Final

_KEPT: Final = frozenset("\n\t\u00a0\u2009\u202f")
"""Line breaks, and spaces that are no separators of anything."""

_SPECIAL: Final = re.compile(r"[\\`*\[\]<>|~&@$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=:)/(?=/)|(?<=www)\.")
"""What begins emphasis, code, a link, a picture, a tag, an entity or a cell; names with _ inside are left readable."""

_AT_START: Final = re.compile(r"^(\d*)([#+=.)-])")
"""What begins a heading or a list."""


def for_terminal(text: str) -> str:
    r"""Return a text in which every character that a terminal would obey, or not show, is written as its code.

    That is control characters such as escape, marks that turn the direction of writing, separators of lines and
    paragraphs, and halves of characters, which nothing can encode. Line breaks and tabs stay.

    Examples
    --------
    >>> for_terminal("BTC\x1b]0;title\x07")
    'BTC\\x1b]0;title\\x07'
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in _KEPT
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def for_markdown(text: str) -> str:
    r"""Return a text that Markdown shows as it is, in one line: no link, picture, tag, heading or further cell.

    Examples
    --------
    >>> for_markdown("![x](https://example.com) **now**")
    '!\\[x\\](https:\\//example.com) \\*\\*now\\*\\*'
    >>> for_markdown("range_fade loses 3.5 %")
    'range_fade loses 3.5 %'
    """
    line = " ".join(for_terminal(text).split())
    return _AT_START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", line))
