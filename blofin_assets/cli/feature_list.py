"""The list of all features, by group.

Belongs here: what `blofin features` prints without a name; it needs no warehouse. Does not belong here: tear sheets
(`blofin_assets.cli.features`).
"""

from itertools import groupby
from typing import Final

import typer

from blofin_assets.cli.documents import print_json
from features.registry import standard_registry

_WIDE: Final = 100


def list_features(*, as_json: bool) -> None:
    """Print each group and a line for each of its features, or everything as JSON."""
    known = list(standard_registry())
    if as_json:
        rows = [
            {
                "group": each.group,
                "name": each.pattern,
                "example": each.example,
                "standard": bool(each.standard),
                "unit": each.unit,
                "description": each.description,
            }
            for each in known
        ]
        print_json({"features": rows})
        return
    wide = max(len(each.pattern) for each in known)
    for group, members in groupby(known, key=lambda each: each.group):
        own = list(members)
        typer.echo(f"{group} ({len(own)})")
        for each in own:
            mark = "*" if each.standard else " "
            line = f" {mark}{each.pattern:<{wide}}  {each.description}"
            typer.echo(line if len(line) <= _WIDE else f"{line[: _WIDE - 1]}…")
    typer.echo("* in the standard set. <n> is a number: blofin features rsi_14; a group: blofin features regime")
