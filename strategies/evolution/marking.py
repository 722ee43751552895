"""Data inside prompts, so marked that it cannot be taken for an instruction.

Belongs here: delimiting, escaping and cutting text that comes from data. Does not belong here: the sentence that
tells the model what the marks mean (`prompts/house.md`).

A strategy's name, a lesson, an old reply: each may hold text that looks like an instruction. It stands between
``<data kind="...">`` and ``</data>``; inside, no ``<`` is left, so that nothing in it can open or close a mark.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

Kind = Literal["facts", "lessons", "market", "problem", "reply", "report", "strategies", "strategy"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""What a data block may be called: words of this code, never of the data."""

LONGEST: Final = 12_000
"""Most characters of a block."""

LONGEST_FIELD: Final = 600
"""Most characters of one text in a record."""

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def block(kind: Kind, content: str, *, longest: int = LONGEST) -> str:
    """Return text as a data block.

    Parameters
    ----------
    kind : Kind
        What the block holds.
    content : str
        Anything at all. Characters that nobody sees (control, direction, half characters) become U+FFFD.
    longest : int
        Where it is cut, with a note.
    """
    return f'<data kind="{kind}">\n{_escaped(_cut(_seen(content), longest))}\n</data>'


def records(kind: Kind, rows: Iterable[Mapping[str, object]], *, longest: int = LONGEST) -> str:
    """Return records as a data block of JSON lines; as many, in their order, as fit.

    Parameters
    ----------
    kind : Kind
        What the block holds.
    rows : iterable of mapping
        Numbers, texts, truth values, None, and lists and mappings of these; other values as their `str`.
    longest : int
        Most characters; the records that do not fit are counted in a note.
    """
    lines = [json.dumps(_shortened(dict(row)), ensure_ascii=False, default=str) for row in rows]
    kept: list[str] = []
    room = longest
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            kept.append(f"({len(lines) - len(kept)} more records left out)")
            break
        kept.append(line)
    return block(kind, "\n".join(kept) or "(none)", longest=longest + 100)


def _shortened(value: object) -> object:
    if isinstance(value, str):
        return _cut(value, LONGEST_FIELD)
    if isinstance(value, Mapping):
        return {_cut(str(key), LONGEST_FIELD): _shortened(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(held) for held in value]
    return value if isinstance(value, int | float | None) else _cut(str(value), LONGEST_FIELD)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text) - longest} characters left out)"


def _seen(text: str) -> str:
    """Return the text without characters that nobody sees; line breaks and tabs stay."""
    return "".join(each if each in "\n\t" or unicodedata.category(each) not in _UNSEEN else "\ufffd" for each in text)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
