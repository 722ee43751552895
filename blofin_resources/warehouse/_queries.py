"""What a warehouse that was opened for reading alone answers: one query, of nothing but the warehouse.

Belongs here: closing a connection to the outside, and telling a query from everything else. Does not belong here:
running it.

Three walls, since none is enough alone: the lake is attached read-only; DuckDB touches no file but the lake's and takes
no setting any more; and a statement has to be one query that calls no table function but those listed. The last is
needed since SQLite's and PostgreSQL's extensions open files and connections without asking DuckDB, and since DuckLake's
maintenance deletes and writes files also where its catalog is attached read-only.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from duckdb import DuckDBPyConnection

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import _sql
from blofin_resources.warehouse._place import Place

TABLE_FUNCTIONS: Final = frozenset({
    # series and documents
    "generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest",
    # summaries
    "histogram", "histogram_values", "summary",
    # what there is
    "duckdb_columns", "duckdb_databases", "duckdb_extensions", "duckdb_functions", "duckdb_keywords", "duckdb_memory",
    "duckdb_schemas", "duckdb_settings", "duckdb_tables", "duckdb_temporary_files", "duckdb_types", "duckdb_views",
    "icu_calendar_names", "pg_timezone_names", "pragma_database_size", "pragma_show", "pragma_table_info",
    "pragma_version",
    # the lake's history, also as lake.snapshots() and so on
    "current_snapshot", "last_committed_snapshot", "list_files", "options", "settings", "snapshots", "table_changes",
    "table_deletions", "table_info", "table_insertions", "ducklake_current_snapshot",
    "ducklake_last_committed_snapshot", "ducklake_list_files", "ducklake_options", "ducklake_settings",
    "ducklake_snapshots", "ducklake_table_changes", "ducklake_table_deletions", "ducklake_table_info",
    "ducklake_table_insertions",
})  # fmt: skip
"""Functions that a query may read from. None of them touches a file of its own choice, or writes."""

_EXPLAIN: Final = re.compile(r"\s*EXPLAIN\b(?:\s+ANALYZE\b)?\s*(?:\([\w\s,]*\))?", re.IGNORECASE)


def seal(connection: DuckDBPyConnection, place: Place) -> None:
    """Close a connection to everything outside the lake, for good; the lake must be attached already."""
    data = {str(place.data), str(place.data.resolve())}  # a folder may be reached through a link
    folders = ", ".join(_sql.text(f"{each}/") for each in sorted(data))
    connection.execute(f"SET allowed_directories = [{folders}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def require_query(cursor: DuckDBPyConnection, sql: str) -> None:
    """Refuse whatever is not one query (or nothing) of the warehouse.

    Raises
    ------
    WarehouseError
        If the text cannot be encoded, or there are several statements, one that is no query, or one that reads from a
        function that is not listed.
    duckdb.Error
        If the text is no SQL.
    """
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        msg = f"the statement contains an unpaired surrogate, {sql[error.start]}, which cannot be encoded; retype it"
        raise WarehouseError(msg) from None
    explained = _EXPLAIN.match(sql)
    tree = _tree(cursor, sql[explained.end() :] if explained else sql)
    if tree is None:
        raise _refusal(cursor, sql)
    if len(tree) > 1:
        msg = f"one statement at a time; got {len(tree)}"
        raise WarehouseError(msg)
    for name in _table_functions(tree):
        if name.lower() not in TABLE_FUNCTIONS:
            msg = f"the warehouse is read-only here: a query cannot read from {name}(), only from tables and views"
            raise WarehouseError(msg)


def _tree(cursor: DuckDBPyConnection, sql: str) -> list[Any] | None:
    """Return the parsed statements; None where they are not all queries."""
    ((text,),) = cursor.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    answer = json.loads(text)
    return None if answer["error"] else list(answer["statements"])


def _refusal(cursor: DuckDBPyConnection, sql: str) -> WarehouseError:
    """Return what to say of a text that is not made of queries alone; DuckDB's own error where it is no SQL."""
    statements = cursor.extract_statements(sql)
    if len(statements) > 1 and any(statement.query for statement in statements):
        return WarehouseError(f"one statement at a time; got {len(statements)}")
    if len(statements) > 1:
        return WarehouseError("PIVOT needs its columns here: PIVOT ... ON column IN ('a', 'b') USING ...")
    kind = statements[0].type.name if statements else "this"
    if kind == "EXPLAIN":
        return WarehouseError("the warehouse is read-only here: EXPLAIN is answered for one query, and comes first")
    return WarehouseError(
        f"the warehouse is read-only here: {'PRAGMA' if kind == 'SELECT' else kind} is refused; it answers one query "
        "(SELECT, FROM, VALUES, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN)"
    )


def _table_functions(node: object) -> Iterator[str]:
    """Yield the name of each table function anywhere in a parsed query."""
    if isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION":
            yield str(node["function"]["function_name"])
        for value in node.values():
            yield from _table_functions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _table_functions(value)
