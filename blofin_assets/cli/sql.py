"""`blofin sql`: the warehouse for analysts, reading only.

Belongs here: a statement or a prompt and a table in the terminal. Does not belong here: the queries that the platform
itself makes.
"""

import contextlib
import shutil
import textwrap
from typing import Final

import polars as pl
import polars.selectors as cs
import typer

from blofin_resources.errors import BlofinError
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

_HELP = "Statements end with Enter; .tables lists the tables, .quit ends."
_TABLES = (
    "SELECT schema_name || '.' || table_name AS \"table\", comment FROM duckdb_tables() "
    "WHERE schema_name IN ('market', 'features', 'research', 'ml', 'reports') ORDER BY ALL"
)

_LEAST_WIDTH: Final = 10
"""Characters that a column takes at least; with less for each, rows are shown one below the other."""
_RECORDS: Final = 20
"""Rows that are shown so."""

_DAY_IN: Final = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_MOST_DAYS: Final = 95_000_000
"""Some 260,000 years from 1970, up to which polars prints dates."""


def run_sql(query: str | None) -> None:
    """Print the result of one statement, or open a prompt."""
    settings = Settings()
    warehouse = Warehouse.open_readonly(settings.warehouse, catalog=settings.catalog)
    if query is not None:
        typer.echo(_answer(warehouse, query))
        return
    with contextlib.suppress(ImportError):  # line editing where the platform has it
        import readline  # noqa: F401
    typer.echo(f"{settings.warehouse}: reading only. {_HELP}")
    while True:
        try:
            line = input("blofin> ").strip().rstrip(";")
        except (EOFError, KeyboardInterrupt):
            typer.echo("")
            return
        if line in (".quit", ".exit"):
            return
        if line:
            _answer_or_complain(warehouse, line)


def _answer_or_complain(warehouse: Warehouse, line: str) -> None:
    try:
        typer.echo(_answer(warehouse, _TABLES if line == ".tables" else line))
    except BlofinError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)


def _answer(warehouse: Warehouse, query: str) -> str:
    frame = warehouse.read(query)
    if not frame.width:  # a comment, or nothing at all
        return "no rows"
    _refuse_endless(frame)
    width = shutil.get_terminal_size((120, 40)).columns
    if frame.width * _LEAST_WIDTH > width:
        return _one_below_the_other(frame, width)
    with pl.Config(tbl_width_chars=width, tbl_rows=50, tbl_cols=-1, fmt_str_lengths=60, tbl_hide_dataframe_shape=True):
        return str(frame)


def _one_below_the_other(frame: pl.DataFrame, width: int) -> str:
    """Return the first rows with a line for each column: beside each other so many columns would not be readable."""
    if frame.is_empty():
        return textwrap.fill(f"no rows of {', '.join(frame.columns)}", width)
    longest = max(len(name) for name in frame.columns)
    lines = []
    for number, row in enumerate(frame.head(_RECORDS).iter_rows(named=True), 1):
        lines.append(f"row {number} of {frame.height}")
        for name, value in row.items():
            told = "null" if value is None else " ".join(str(value).split())
            lines.append(_fitting(f"  {name:<{longest}}  {told}", width))
    return "\n".join(lines)


def _fitting(line: str, width: int) -> str:
    """Return a line that fits a width."""
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _refuse_endless(frame: pl.DataFrame) -> None:
    """Refuse a date or time that polars holds and cannot print: it would end the program."""
    for column in frame.select(cs.date() | cs.datetime()):
        a_day = _DAY_IN.get(getattr(column.dtype, "time_unit", ""), 1)
        days = column.to_physical().drop_nulls() // a_day
        if not days.is_between(-_MOST_DAYS, _MOST_DAYS).all():
            msg = f"column {column.name} holds a time that no table shows, such as infinity; cast it: ...::VARCHAR"
            raise BlofinError(msg)
