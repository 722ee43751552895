"""`blofin reproduce`: make a stored report again and say which number differs.

Belongs here: finding the report, showing what came of it. Does not belong here: making it again (`reproduction`).
"""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

import typer

from blofin_assets.cli.session import Session, open_session
from blofin_assets.cli.times import parse_day
from blofin_assets.reproduction import original_of, reproduce, require_same_code
from blofin_resources.errors import BlofinError

SHOWN: Final = 20
"""Differences that are shown one by one."""


def reproduce_report(report: str, *, force: bool) -> None:
    """Make the report of a day, or of a JSON file, again, and compare.

    Raises
    ------
    BlofinError
        If a value differs, the code is another one and `force` is not set, or the report cannot be made again.
    """
    session = open_session()
    original = original_of(_document(report, session))
    if not force:
        require_same_code(original)
    day = original.document["report_date"]
    with tempfile.TemporaryDirectory(prefix="blofin-reproduce-") as folder:
        made = reproduce(session.warehouse, session.settings, original, Path(folder) / "warehouse", tell=typer.echo)
    for difference in made.differences[:SHOWN]:
        typer.echo(str(difference))
    if len(made.differences) > SHOWN:
        typer.echo(f"and {len(made.differences) - SHOWN} more")
    if made.differences:
        msg = f"the report of {day} is not reproduced: {len(made.differences)} of {made.values:,} values differ"
        raise BlofinError(msg)
    typer.echo(f"the report of {day} is reproduced: {made.values:,} values, all the same")


def _document(report: str, session: Session) -> dict[str, Any]:
    """Return the report in a file, or the one that the warehouse holds of a day."""
    if report.endswith(".json"):
        try:
            document = json.loads(Path(report).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            msg = f"{report} is no report that can be read ({error}); give a day such as 2025-06-11"
            raise BlofinError(msg) from None
        if not isinstance(document, dict):
            msg = f"{report} is no report: it holds {type(document).__name__}, not an object"
            raise BlofinError(msg)
        return document
    day = parse_day(report)
    stored = session.warehouse.read("SELECT report_json FROM reports.daily_reports WHERE report_date = ?", [day])
    if stored.is_empty():
        msg = f"there is no report of {day} in {session.settings.warehouse}; make it with: blofin report {day}"
        raise BlofinError(msg)
    found: dict[str, Any] = json.loads(stored["report_json"].item())
    return found
