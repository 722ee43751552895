"""What the tables and views look like, known without a warehouse.

Belongs here: columns, types and comments, read from the SQL files that are their one description. Does not belong
here: creating tables (`_schema`), the columns of the feature tables, which come from the feature registry.
"""

import re
from functools import cache
from typing import Any, Final, NamedTuple

import duckdb

from blofin_resources.warehouse._schema import FILES

_LAKE_ONLY: Final = re.compile(r"ALTER TABLE \S+ SET PARTITIONED BY \([^;]*;")


class Column(NamedTuple):
    """One column: `kind` is its SQL type, `comment` its meaning and unit."""

    name: str
    kind: str
    comment: str


def table_columns(table: str) -> tuple[Column, ...]:
    """Return the columns of a table or view, `schema.table`, in order; those of views have no comment.

    Raises
    ------
    LookupError
        If the SQL files have no such table.
    """
    found = _tables().get(table)
    if found is None:
        msg = f"no table {table} in warehouse/schema; there are {', '.join(sorted(_tables()))}"
        raise LookupError(msg)
    return found


@cache
def table_comments() -> dict[str, str]:
    """Return what each table holds, by `schema.table`, in the order of names."""
    return {
        table: comment or ""
        for table, comment in _query(
            "SELECT schema_name || '.' || table_name, comment FROM duckdb_tables() WHERE NOT internal ORDER BY 1"
        )
    }


@cache
def view_comments() -> dict[str, str]:
    """Return what each view answers, by `schema.view`, in the order of names."""
    return {
        view: comment or ""
        for view, comment in _query(
            "SELECT schema_name || '.' || view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY 1"
        )
    }


def _query(query: str) -> list[tuple[Any, ...]]:
    """Apply the SQL files to an empty database in memory and return what a query reads back."""
    with duckdb.connect() as connection:
        for path in (*sorted((FILES / "schema").glob("*.sql")), *sorted((FILES / "views").glob("*.sql"))):
            connection.execute(_LAKE_ONLY.sub("", path.read_text(encoding="utf-8")))
        return connection.execute(query).fetchall()


@cache
def _tables() -> dict[str, tuple[Column, ...]]:
    rows = _query(
        "SELECT schema_name || '.' || table_name, column_name, data_type, comment FROM duckdb_columns() "
        "WHERE NOT internal ORDER BY 1, column_index"
    )
    tables: dict[str, list[Column]] = {}
    for table, name, kind, comment in rows:
        tables.setdefault(table, []).append(Column(name, kind, comment or ""))
    return {table: tuple(columns) for table, columns in tables.items()}
