"""`blofin sql`: read-only queries of the warehouse.

Belongs here: the statement or prompt, and the table in the terminal. Does not belong here: the platform's own queries.
"""

import contextlib
import re
import shutil
import textwrap
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl
import polars.selectors as cs
import typer

from blofin_assets.cli.documents import json_of, print_json
from blofin_resources.errors import BlofinError
from blofin_resources.queries import query
from blofin_resources.settings import Settings
from blofin_resources.suggestions import did_you_mean
from blofin_resources.texts import for_terminal
from blofin_resources.warehouse import Warehouse

_HELP: Final = """\
One query at a time, which Enter ends: SELECT, FROM, VALUES, DESCRIBE, SUMMARIZE or EXPLAIN. Nothing can be written.
  .tables, show tables    tables and views, with what they hold
  .describe research.trades    columns of one of them, with what they hold
  Tab    completes names of tables, views and columns
  from market.candles_1m limit 5    its first rows
  .help, help    this
  .quit, quit, exit, Ctrl-D    end"""

_DESCRIBE: Final = re.compile(r"(?:\.describe|\.d|\\d)\s+(\S+)", re.IGNORECASE)

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
_YEARS: Final = ((date.min - date(1970, 1, 1)).days, (date.max - date(1970, 1, 1)).days)
"""The years 1 to 9999, as days since 1970."""


def run_sql(query: str | None, *, as_json: bool = False) -> None:
    """Print the result of one statement, or open a prompt.

    Raises
    ------
    BlofinError
        If the statement is wrong, or none was given for JSON.
    """
    if as_json and query is None:
        msg = "--json is of one statement; for example: blofin sql --json 'SELECT 1 AS one'"
        raise BlofinError(msg)
    settings = Settings()
    warehouse = Warehouse.open_readonly(settings.warehouse, catalog=settings.catalog)
    if query is not None and as_json:
        print_json(rows_of(asked(warehouse, query)))
        return
    if query is not None:
        typer.echo(_answer(warehouse, query))
        return
    _prompt(warehouse, settings.warehouse)


def _prompt(warehouse: Warehouse, folder: Path) -> None:
    with contextlib.suppress(ImportError):  # line editing where the platform has it
        import readline

        known = names(warehouse)
        readline.set_completer_delims(" \t\n,()=<>*")
        readline.set_completer(lambda text, number: completion(known, text, number))
        readline.parse_and_bind("tab: complete")
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
    except KeyboardInterrupt:
        typer.secho("interrupted", fg=typer.colors.YELLOW, err=True)


def _word(text: str) -> str | None:
    """Return the command that a line stands for, if it is no statement."""
    return _WORDS.get(" ".join(text.lower().rstrip("; ").split()))


def _answer(warehouse: Warehouse, text: str) -> str:
    """Return the output of a statement or of a command of the prompt."""
    word = _word(text)
    if word in {"help", "quit"}:
        return _HELP
    found = asked(warehouse, text)
    listed = word == "tables" or _DESCRIBE.fullmatch(_bare(text))
    return for_terminal(_listed(found) if listed else _shown(found))


def asked(warehouse: Warehouse, text: str, most: int | None = None, seconds: float | None = None) -> pl.DataFrame:
    """Return the rows of a statement, or of a command of the prompt that lists or describes.

    Parameters
    ----------
    warehouse : Warehouse
        Open for reading.
    text : str
        As typed.
    most : int, optional
        The first rows of a statement alone, so many.
    seconds : float, optional
        A statement is stopped after so long.

    Returns
    -------
    DataFrame
        Of the statement's columns; `name`, `kind` and `comment` of what is listed.

    Raises
    ------
    BlofinError
        If it is not one statement that reads, or it fails; with DuckDB's hints, and its mark below the place.
    """
    of = _DESCRIBE.fullmatch(_bare(text))
    if of is None and _word(text) is None and _bare(text).startswith((".", "\\")):
        msg = f"there is no command {_bare(text)}; there are .tables, .describe research.trades, .help and .quit"
        raise BlofinError(msg)
    try:
        if _word(text) == "tables":
            return tables(warehouse)
        return warehouse.read(text, most=most, seconds=seconds) if of is None else described(warehouse, of[1])
    except BlofinError as error:
        if isinstance(error.__cause__, duckdb.Error):
            raise BlofinError(str(error.__cause__).strip()) from None
        raise


def rows_of(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as JSON has them.

    Raises
    ------
    BlofinError
        If a time lies outside the years 1 to 9999.
    """
    _refuse_endless(frame, _YEARS)
    rows: list[dict[str, Any]] = json_of(frame)
    return rows


def _bare(text: str) -> str:
    return text.strip().rstrip("; ")


def tables(warehouse: Warehouse) -> pl.DataFrame:
    """Return `name`, `kind` (table or view) and `comment` of each table and view."""
    return warehouse.read(query("cli/tables"))


def described(warehouse: Warehouse, name: str) -> pl.DataFrame:
    """Return `name`, `kind` (SQL type) and `comment` of each column of a table or view.

    Raises
    ------
    BlofinError
        If there is no such table or view; the text names the nearest.
    """
    found = warehouse.read(query("cli/columns"), {"name": name})
    if found.is_empty():
        known = tables(warehouse)["name"].to_list()
        msg = f"there is no table or view {name}{did_you_mean([name], known)}; .tables lists them"
        raise BlofinError(msg)
    return found.select(name="column_name", kind="data_type", comment="comment")


def names(warehouse: Warehouse) -> list[str]:
    """Return the names of tables, views and columns, in order."""
    columns = warehouse.read(query("cli/columns"), {"name": None})
    return sorted({*columns["name"], *columns["column_name"]})


def completion(known: Sequence[str], text: str, number: int) -> str | None:
    """Return a known name that begins with a text, as readline asks for them.

    Parameters
    ----------
    known : sequence of str
        Names, in the order in which they are offered.
    text : str
        What was typed of the name; case does not count.
    number : int
        Which of the names that fit, from 0.

    Returns
    -------
    str or None
        None after the last.
    """
    found = [name for name in known if name.startswith(text.lower())]
    return found[number] if number < len(found) else None


def _listed(named: pl.DataFrame) -> str:
    """Return each row of `name`, `kind` and `comment`, on as many lines as it takes."""
    longest, widest = (max(len(text) for text in named[column]) for column in ("name", "kind"))
    width = shutil.get_terminal_size((120, 40)).columns
    return "\n".join(
        textwrap.fill(
            f"{name:<{longest}}  {kind:<{widest}}  {' '.join((comment or '').split())}", width,
            subsequent_indent=" " * min(longest + widest + 4, width // 2), replace_whitespace=False,
        )
        for name, kind, comment in named.iter_rows()
    )  # fmt: skip


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


def _refuse_endless(frame: pl.DataFrame, days_between: tuple[int, int] = (-_MOST_DAYS, _MOST_DAYS)) -> None:
    """Refuse dates and times outside some days since 1970, by default those that would crash polars' printing."""
    for column in frame.select(cs.date() | cs.datetime()):
        a_day = _DAY_IN.get(getattr(column.dtype, "time_unit", ""), 1)
        days = column.to_physical().drop_nulls() // a_day
        if not days.is_between(*days_between).all():
            msg = f"column {column.name} contains an out-of-range timestamp (e.g. infinity); cast it to VARCHAR"
            raise BlofinError(msg)
