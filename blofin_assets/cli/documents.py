"""`--json`: what a command prints, as one JSON document on the standard output, and what `blofin mcp` answers.

Belongs here: values as JSON has them, printing them, and cutting what is too long for an answer. Does not belong here:
which values a command shows (its own module), numbers of a report, which are rounded
(`blofin_assets.shared.json_values`).

A command that is asked for JSON prints nothing else there: progress goes to the standard error (`console`).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final

import numpy as np
import polars as pl
import typer
from rich.console import Console

MOST_ROWS: Final = 500
"""Most rows in an answer to a program."""
MOST_TEXT: Final = 60_000
"""Most characters in an answer to a program, as JSON."""


def json_of(value: Any) -> Any:
    """Return a value as JSON has it: numbers as they are, null for NaN and infinity.

    Parameters
    ----------
    value : object
        Frames become a list of rows, arrays a list, dataclasses and mappings an object, times ISO text, lengths of time
        seconds; what JSON has nothing for becomes its text.

    Returns
    -------
    dict, list, str, int, float, bool or None

    Examples
    --------
    >>> json_of({"ratio": float("nan"), "at": date(2025, 6, 1), "low": np.float64(0.1)})
    {'ratio': None, 'at': '2025-06-01', 'low': 0.1}
    """
    held = _opened(value)
    if isinstance(held, dict):
        return {str(name): json_of(each) for name, each in held.items()}
    if isinstance(held, list):
        return [json_of(each) for each in held]
    return _leaf(held)


def _opened(value: Any) -> Any:
    """Return what holds further values as a dict or a list, and a number of NumPy as one of Python."""
    if isinstance(value, pl.DataFrame):
        return value.to_dicts()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, tuple):
        return value._asdict() if hasattr(value, "_asdict") else list(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    return dict(value) if isinstance(value, Mapping) else value


def _leaf(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else str(value)


def print_json(document: object) -> None:
    """Print a document on the standard output; escapes keep control characters out of a terminal."""
    typer.echo(json.dumps(json_of(document), indent=1, allow_nan=False))


def console(*, as_json: bool) -> Console:
    """Return where progress is shown: the standard output, or the standard error beside a document."""
    return Console(stderr=as_json)


def bounded(document: Mapping[str, object], cut: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a document as JSON has it, at most `MOST_TEXT` long: the longest parts lose their end, and `cut` says so.

    Parameters
    ----------
    document : dict of str to object
        As for `json_of`.
    cut : dict of str to str, optional
        What was cut before.

    Returns
    -------
    dict of str to value
    """
    found: dict[str, Any] = json_of(document)
    lost = dict(cut or {})
    whole = {name: len(value) for name, value in found.items() if isinstance(value, list)}
    while len(json.dumps(found)) > MOST_TEXT:
        longest = max(found, key=lambda name: len(json.dumps(found[name])))
        value = found[longest]
        if isinstance(value, list) and len(value) > 1:
            found[longest] = value[: len(value) // 2]
            lost[longest] = f"the first {len(found[longest])} of {whole[longest]}"
        else:
            lost[longest] = f"left out: {len(json.dumps(value)):,} characters"
            found[longest] = None
    return {**found, "cut": lost} if lost else found
