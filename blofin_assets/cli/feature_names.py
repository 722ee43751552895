"""What a person named of features: one, a group, or a typo.

Belongs here: checks of names that need no warehouse, so that a typo is answered at once. Does not belong here: what is
done with them (`blofin_assets.cli.features`), anything that imports a library of orchestration.
"""

import difflib
import re
from pathlib import Path
from typing import Final

from blofin_resources.errors import BlofinError
from features.definition import GROUPS
from features.registry import Registry, standard_registry

WRITTEN: Final = "written_"
"""Of the names of stored features that Claude wrote, which the warehouse knows."""

_NEAREST: Final = 4


def check_request(name: str | None, file: Path | None) -> None:
    """Refuse a name that no feature has, and a file that is not there.

    Raises
    ------
    BlofinError
        Also if both are given.
    """
    if name is not None and file is not None:
        msg = f"{name} and --file {file}: give a name or a file, not both"
        raise BlofinError(msg)
    if file is not None and not file.is_file():
        msg = f"--file {file}: no such file; give one with an expression such as zscore(f.rsi_14, 60)"
        raise BlofinError(msg)
    if name is not None and not name.startswith(WRITTEN):
        names_of(standard_registry(), name)


def group_of(name: str | None) -> str | None:
    """Return the group of that name; None where there is none."""
    plain = re.sub(r"[^a-z]+", "_", (name or "").strip().casefold())
    return plain if plain in GROUPS else None


def names_of(registry: Registry, name: str) -> list[str]:
    """Return the features of a group, or the one feature of that name.

    Raises
    ------
    BlofinError
        If there is none, with the nearest names, or the group is empty.
    ValueError
        If a parameter of the feature is out of range.
    """
    group = group_of(name)
    if group is not None:
        names = registry.group(group)
        if not names:
            full = ", ".join(each for each in GROUPS if registry.group(each))
            msg = f"the group {group} has no features; those that have some are {full}"
            raise BlofinError(msg)
        return names
    try:
        registry.request(name)
    except LookupError as error:
        if ":" in name:
            raise BlofinError(str(error)) from None
        known = [*GROUPS, *(each for one in registry for each in (*one.standard, one.example, one.bare) if each)]
        near = difflib.get_close_matches(name.casefold(), dict.fromkeys(known), n=_NEAREST, cutoff=0.5)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        msg = f"no feature or group {name!r}{hint}; blofin features lists all"
        raise BlofinError(msg) from None
    return [name]
