"""`blofin sql`: read-only queries of the warehouse.

Belongs here: the statement or prompt, and the table in the terminal. Does not belong here: the platform's own queries.
"""

import contextlib
import shutil
import textwrap
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import polars.selectors as cs
import typer

from blofin_resources.errors import BlofinError
from blofin_resources.queries import query
from blofin_resources.settings import Settings
from blofin_resources.texts import for_terminal
from blofin_resources.warehouse import Warehouse

_HELP: Final = """\
One query at a time, which Enter ends: SELECT, FROM, VALUES, DESCRIBE, SUMMARIZE or EXPLAIN. Nothing can be written.
  .tables, show tables    tables and views, with what they hold
  describe research.trades    columns of one of them
  from market.candles_1m limit 5    its first rows
  .help, help    this
  .quit, quit, exit, Ctrl-D    end"""

_WORDS: Final = {
    **dict.fromkeys((".tables", "show tables", "show all tables", ".schema", r"\d", r"\dt"), "tables"),
    **dict.fromkeys((".help", "help", "?", r"\?", r"\h"), "help"),
    **dict.fromkeys((".quit", ".exit", ".q", "quit", "exit", r"\q", "quit()", "exit()"), "quit"),
}
"""Commands of other SQL prompts."""

_LEAST_WIDTH: Final = 10
"""Smallest width per column; below it, the columns of a row are printed one below the other."""
_RECORDS: Final = 20
"""Number of rows printed that way."""

_DAY_IN: Final = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_MOST_DAYS: Final = 95_000_000
"""Some 260,000 years around 1970: the range of dates that polars can print."""


def run_sql(query: str | None) -> None:
    """Print the result of one statement, or open a prompt."""
    settings = Settings()
    warehouse = Warehouse.open_readonly(settings.warehouse, catalog=settings.catalog)
    if query is not None:
        typer.echo(_answer(warehouse, query))
        return
    _prompt(warehouse, settings.warehouse)


def _prompt(warehouse: Warehouse, folder: Path) -> None:
    with contextlib.suppress(ImportError):  # line editing where the platform has it
        import readline  # noqa: F401
    typer.echo(f"{for_terminal(str(folder))}: read-only; .tables lists the tables, .help the commands")
    while True:
        try:
            line = input("blofin> ").strip().rstrip(";")
        except (EOFError, KeyboardInterrupt):
            typer.echo("")
            return
        if _word(line) == "quit":
            return
        if line:
            _answer_or_complain(warehouse, line)


def _answer_or_complain(warehouse: Warehouse, line: str) -> None:
    try:
        typer.echo(_answer(warehouse, line))
    except BlofinError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)


def _word(text: str) -> str | None:
    """Return the command that a line stands for, if it is no statement."""
    return _WORDS.get(" ".join(text.lower().rstrip("; ").split()))


def _answer(warehouse: Warehouse, text: str) -> str:
    """Return the output of a statement or of a command of the prompt."""
    word = _word(text)
    if word in {"help", "quit"}:
        return _HELP
    try:
        shown = _listed(tables(warehouse)) if word == "tables" else _shown(warehouse.read(text))
        return for_terminal(shown)
    except BlofinError as error:
        if isinstance(error.__cause__, duckdb.Error):  # with its hints, and the mark below the place
            raise BlofinError(str(error.__cause__).strip()) from None
        raise


def tables(warehouse: Warehouse) -> pl.DataFrame:
    """Return `name`, `kind` (table or view) and `comment` of each table and view."""
    return warehouse.read(query("cli/tables"))


def _listed(tables: pl.DataFrame) -> str:
    """Return a line for each table and view with its whole comment."""
    longest = max(len(name) for name in tables["name"])
    width = shutil.get_terminal_size((120, 40)).columns
    return "\n".join(
        _fitting(f"{name:<{longest}}  {kind:<5}  {' '.join((comment or '').split())}", width)
        for name, kind, comment in tables.iter_rows()
    )


def _shown(frame: pl.DataFrame) -> str:
    if not frame.width:  # a comment, or nothing at all
        return "no rows"
    _refuse_endless(frame)
    width = shutil.get_terminal_size((120, 40)).columns
    if frame.width * _LEAST_WIDTH > width:
        return _one_below_the_other(frame, width)
    with pl.Config(tbl_width_chars=width, tbl_rows=50, tbl_cols=-1, fmt_str_lengths=60, tbl_hide_dataframe_shape=True):
        return str(frame)


def _one_below_the_other(frame: pl.DataFrame, width: int) -> str:
    """Return the first rows with one line per column, for results that are too wide for a table."""
    if frame.is_empty():
        return textwrap.fill(f"no rows of {', '.join(frame.columns)}", width)
    longest = max(len(name) for name in frame.columns)
    lines = []
    for number, row in enumerate(frame.head(_RECORDS).iter_rows(named=True), 1):
        lines.append(f"row {number} of {frame.height}")
        for name, value in row.items():
            text = "null" if value is None else for_terminal(" ".join(str(value).split()))
            lines.append(_fitting(f"  {name:<{longest}}  {text}", width))
    return "\n".join(lines)


def _fitting(line: str, width: int) -> str:
    """Shorten a line to a width."""
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _refuse_endless(frame: pl.DataFrame) -> None:
    """Refuse dates and times that polars cannot print: they would crash the program."""
    for column in frame.select(cs.date() | cs.datetime()):
        a_day = _DAY_IN.get(getattr(column.dtype, "time_unit", ""), 1)
        days = column.to_physical().drop_nulls() // a_day
        if not days.is_between(-_MOST_DAYS, _MOST_DAYS).all():
            msg = f"column {column.name} contains an out-of-range timestamp (e.g. infinity); cast it to VARCHAR"
            raise BlofinError(msg)
