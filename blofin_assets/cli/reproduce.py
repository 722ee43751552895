"""`blofin reproduce`: recompute a stored report and list the values that differ.

Belongs here: finding the report, printing the differences. Does not belong here: recomputing (`reproduction`).
"""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import typer

from blofin_assets.cli.documents import print_json
from blofin_assets.cli.session import Session, open_session
from blofin_assets.cli.times import parse_day
from blofin_assets.reproduction import Reproduction, original_of, other_code, reproduce
from blofin_resources.errors import BlofinError
from blofin_resources.texts import for_terminal

SHOWN: Final = 20
"""Number of differences that are printed."""


def reproduce_report(report: str, *, as_json: bool = False) -> None:
    """Recompute the report of a day, or of a JSON file, and compare.

    Raises
    ------
    BlofinError
        If a value differs, or the report cannot be recomputed.
    """
    session = open_session()
    original = original_of(_document(report, session))
    other = other_code(original)
    day = original.document["report_date"]
    with tempfile.TemporaryDirectory(prefix="blofin-reproduce-") as folder:
        result = reproduce(
            session.warehouse,
            session.settings,
            original,
            Path(folder) / "warehouse",
            on_progress=lambda line: typer.echo(for_terminal(line), err=as_json),
        )
    if as_json:
        print_json({"report_date": day, **vars(result), "other_code": other})
    else:
        _show(result)
    if result.differences:
        msg = f"the report of {day} was not reproduced: {len(result.differences):,} of {result.values:,} values differ"
        raise BlofinError(f"{msg}; {other}: check out that code to compare" if other else msg)
    if not as_json:
        typer.echo(f"the report of {day} was reproduced: all {result.values:,} values are equal")
        if other:
            typer.echo(other)


def _show(result: Reproduction) -> None:
    for difference in result.differences[:SHOWN]:
        typer.echo(for_terminal(str(difference)))
    if len(result.differences) > SHOWN:
        typer.echo(f"and {len(result.differences) - SHOWN:,} more. Where they are:")
        for what, count in Counter(each.what for each in result.differences).most_common():
            typer.echo(f"  {for_terminal(what)}: {count:,}")
    if result.reworded or result.rounded:
        typer.echo(
            f"counted as equal: {result.reworded:,} sentences in other words with the same numbers, and "
            f"{result.rounded:,} numbers that agree to twelve digits"
        )


def _document(report: str, session: Session) -> dict[str, Any]:
    """Return the report in a JSON file, or the stored report of a day."""
    if report.endswith(".json"):
        try:
            document = json.loads(Path(report).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            msg = f"{report} is not a readable report ({error}); give a day such as 2025-06-11"
            raise BlofinError(msg) from None
        if not isinstance(document, dict):
            msg = f"{report} is not a report: it holds {type(document).__name__}, not an object"
            raise BlofinError(msg)
        return document
    day = parse_day(report)
    stored = session.warehouse.read("SELECT report_json FROM reports.daily_reports WHERE report_date = ?", [day])
    if stored.is_empty():
        first, last = session.warehouse.read(
            "SELECT min(report_date), max(report_date) FROM reports.daily_reports"
        ).row(0)
        have = "there is none yet" if first is None else f"there are reports from {first} to {last}"
        msg = f"there is no report of {day} in {session.settings.warehouse}; {have}; make it with: blofin report {day}"
        raise BlofinError(msg)
    latest: dict[str, Any] = json.loads(stored["report_json"].item())
    return latest
