"""Small helpers that turn names, values and errors into text.

Belongs here: quoting, one line out of a DuckDB error. Does not belong here: any statement of its own.
"""

from collections.abc import Iterable

import duckdb


def name(identifier: str) -> str:
    """Return an identifier in double quotes; `schema.table` quotes both parts."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in identifier.split("."))


def names(identifiers: Iterable[str]) -> str:
    """Return column names, each in double quotes, joined by commas."""
    return ", ".join(column(identifier) for identifier in identifiers)


def column(identifier: str, table: str = "") -> str:
    """Return one column name in double quotes, a dot in it included, after the alias of its table if given."""
    quoted = '"' + identifier.replace('"', '""') + '"'
    return f"{table}.{quoted}" if table else quoted


def text(value: object) -> str:
    """Return a value as an SQL string."""
    return "'" + str(value).replace("'", "''") + "'"


def marks(values: Iterable[object]) -> str:
    """Return as many parameter marks as there are values, joined by commas."""
    return ", ".join("?" for _ in values)


def first_line(error: duckdb.Error) -> str:
    """Return the first line of an error, without DuckDB's position marks and hints below it."""
    return str(error).strip().partition("\n")[0]
