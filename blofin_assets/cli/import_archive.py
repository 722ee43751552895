"""`blofin import-archive`: convert files of other programs into an archive.

Belongs here: options and output. Does not belong here: recognising, reading and merging files
(`blofin_resources.market.importing`).

Nothing here needs a warehouse: an archive is read by whoever sets BLOFIN_MARKET=archive.
"""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from blofin_assets.cli.documents import console, print_json
from blofin_resources.errors import BlofinError
from blofin_resources.market.importing import NAMES, Import, PlainFormat, Survey, import_folder, survey
from blofin_resources.texts import for_terminal


def plain_format(
    pairs: Sequence[str], *, symbol: str | None = None, timeframe: str | None = None, percent: bool = False
) -> PlainFormat:
    """Return how to read plain files, from the command's options.

    Parameters
    ----------
    pairs : sequence of str
        Column assignments such as ``ts=opened,close=last``.
    symbol, timeframe : str, optional
        For files whose names do not contain them.
    percent : bool, optional
        Whether funding rates are in percent.

    Returns
    -------
    PlainFormat
        The assignments.

    Raises
    ------
    BlofinError
        If a pair is malformed or names no column of an archive.
    """
    names: dict[str, str] = {}
    for pair in (pair for text in pairs for pair in text.split(",")):
        ours, equals, theirs = pair.partition("=")
        if not (ours.strip() and equals and theirs.strip()):
            msg = f"--columns {pair!r} is not a pair NAME=COLUMN, such as ts=opened"
            raise BlofinError(msg)
        if ours.strip() not in NAMES:
            msg = f"--columns: {ours.strip()!r} is not a column of an archive; there are {', '.join(NAMES)}"
            raise BlofinError(msg)
        names[ours.strip()] = theirs.strip()
    return PlainFormat(names, symbol, timeframe, percent)


def import_into(folder: Path, archive: Path, plain: PlainFormat, *, dry_run: bool, as_json: bool = False) -> None:
    """Import a folder, and show how it was understood before anything is written.

    Parameters
    ----------
    folder : Path
        Files to import, or one file.
    archive : Path
        Folder of the archive; created if absent.
    plain : PlainFormat
        How to read CSV and Parquet files.
    dry_run : bool
        Whether to write nothing.
    as_json : bool
        Print one document in place of tables.

    Raises
    ------
    BlofinError
        If there is nothing to import, or part of it was refused; the rest is imported.
    """
    out, files = console(as_json=as_json), survey(folder, plain)
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=out, transient=True,
    ) as bars:  # fmt: skip
        task = bars.add_task("files of the archive", total=len(files.targets()))

        def confirm(outcome: Import) -> bool:
            bars.stop()
            if not as_json:
                _show(out, files, outcome, archive)
            return not dry_run

        result = import_folder(files, archive, plain, confirm=confirm, on_progress=lambda _: bars.advance(task))
    if as_json:
        print_json(_document(files, result, archive, written=not dry_run))
    elif dry_run:
        out.print("--dry-run: nothing was written")
    elif result.joined:
        place = escape(for_terminal(str(archive)))
        out.print(f"to use it: BLOFIN_MARKET=archive BLOFIN_ARCHIVE={place} blofin run", soft_wrap=True)
    if result.refused:
        msg = f"{len(result.refused)} of {len(result.refused) + len(result.joined)} files of the archive were refused"
        raise BlofinError(msg)


def _document(files: Survey, result: Import, archive: Path, *, written: bool) -> dict[str, object]:
    return {
        "archive": archive,
        "written": written,
        "files": [{"file": joined.target.stem, **vars(joined)} for joined in result.joined],
        "refused": [{"file": refused.target.stem, "reason": refused.reason} for refused in result.refused],
        "skipped": [{"path": path, "reason": reason} for path, reason in files.skipped],
        "short_funding": [{"file": joined.target.stem, "days": by.days} for joined, by in result.short_funding()],
    }


def _show(out: Console, files: Survey, result: Import, archive: Path) -> None:
    if result.joined:
        table = Table(title=escape(for_terminal(str(archive))), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in ("file", "from", "rows", "new", "missing", "first", "last"):
            number = column in ("from", "rows", "new", "missing")
            table.add_column(column, justify="right" if number else "left", no_wrap=True)
        for joined in result.joined:
            missing = "" if joined.missing is None else f"{joined.missing:,}"
            table.add_row(
                joined.target.stem, f"{joined.files:,}", f"{joined.rows:,}", f"{joined.new:,}", missing,
                f"{joined.first:%Y-%m-%d}", f"{joined.last:%Y-%m-%d}",
            )  # fmt: skip
        out.print(table)
    for path, reason in files.skipped:
        out.print(f"skipped: {escape(for_terminal(f'{path}: {reason}'))}", soft_wrap=True)
    for joined in result.joined:
        for step in joined.steps:
            answer = f"blofin step {step.symbol} {step.ts:%Y-%m-%dT%H:%MZ} real (or units)"
            doubt = f"{joined.target.stem}: {step}: a real move, or a change of units?"
            out.print(escape(f"{doubt} Answer once it is stored: {answer}"), soft_wrap=True)
    for funding, by in result.short_funding():
        short = f"{funding.target.stem} ends at {funding.last:%Y-%m-%d}, {by.days} days before the candles"
        out.print(f"{short}: what was paid later is unknown; add the files that lack", soft_wrap=True)
    for refused in result.refused:
        out.print(f"refused: {escape(for_terminal(refused.reason))}", soft_wrap=True)
