"""The canonical text of a strategy: the same characters are hashed, evaluated, stored and loaded.

Belongs here: decoding the bytes of a file, line ends, and which characters a text may hold. Does not belong here: what
the text means (`strategies.untrusted.compiler`).

Python ends a line at a line feed and nowhere else, once carriage returns are read as such. `str.splitlines` also ends
one at ten other characters, editors at some of them, and a terminal follows others as commands. So a text holds no
control, format or separator character but tab and line feed, and lines are cut at line feeds alone.
"""

import re
import unicodedata
from typing import Final

BYTE_ORDER_MARK: Final = "\ufeff"
_PLAIN: Final = re.compile(r"[\t\n\x20-\x7e]*")
_REFUSED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode: control, format (among them those that reverse what is shown), half of a pair, separators."""


class SourceTextError(ValueError):
    """A text holds a character, or a file bytes, that no strategy may hold.

    Attributes
    ----------
    line : int
        Where, from 1.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def decoded(data: bytes) -> str:
    """Return the text of a file in UTF-8.

    Raises
    ------
    SourceTextError
        If it is not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceTextError(line, f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8") from None


def plain_text(text: str) -> str:
    """Return a text in its one form: without a byte-order mark before it, lines ended by line feeds.

    Raises
    ------
    SourceTextError
        If it holds a control, format or separator character, or half of a surrogate pair; the message names it.
    """
    plain = text.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n").replace("\r", "\n")
    place = strange_character(plain)
    if place is not None:
        raise SourceTextError(plain.count("\n", 0, place) + 1, why_strange(plain[place]))
    return plain


def strange_character(text: str) -> int | None:
    """Return the place of the first character that no text of a strategy may hold; None where there is none."""
    if _PLAIN.fullmatch(text):  # nearly every text
        return None
    strange = (
        i for i, character in enumerate(text) if character not in "\t\n" and unicodedata.category(character) in _REFUSED
    )
    return next(strange, None)


def why_strange(character: str) -> str:
    """Return why a character is refused, naming it."""
    name = unicodedata.name(character, "a control character").lower()
    return f"U+{ord(character):04X} ({name}) may not stand in the text of a strategy; remove it"


def cut_lines(text: str, first: int, last: int | None) -> str:
    r"""Return some lines of a text, counted as Python counts them.

    Parameters
    ----------
    text : str
        Lines ended by line feeds.
    first : int
        First line, from 1.
    last : int or None
        Last line, included; None for the end of the text.

    Returns
    -------
    str
        The lines.

    Examples
    --------
    >>> cut_lines("one\ntwo\nthree", 2, 3)
    'two\nthree'
    """
    return "\n".join(text.split("\n")[first - 1 : last])
