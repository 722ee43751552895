"""The warehouse's tables and views, made from the SQL files of the project.

Belongs here: applying migrations in order, renewing views, the tables of features. Does not belong here: column
definitions, which are SQL (`warehouse/schema/*.sql`, `warehouse/views/*.sql`).

A schema file is named `<number>_<what>.sql` and never changes once it is released: a change of the schema is a new
file. All functions expect the write lock and an open transaction where they write.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from duckdb import DuckDBPyConnection

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import _sql
from blofin_resources.warehouse._place import ALIAS

FILES: Final = Path(__file__).resolve().parents[2] / "warehouse"
"""Folder of the SQL files: a part of the project, wherever the run-time warehouse lies."""


class _Migration(NamedTuple):
    number: int
    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")


def is_ours(connection: DuckDBPyConnection) -> bool:
    """Tell a warehouse of this project, or a new and empty catalog, from another DuckLake catalog."""
    tables = connection.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = ?", [ALIAS]
    ).fetchall()
    return not tables or ("meta.schema_migrations",) in tables


def migrate(connection: DuckDBPyConnection, folder: Path = FILES) -> bool:
    """Apply the schema files that this warehouse has not been through, in order; return whether there were any."""
    applied = _applied(connection)
    files = sorted(_Migration(int(path.name.partition("_")[0]), path) for path in (folder / "schema").glob("*.sql"))
    if not files:
        msg = (
            f"no schema files in {folder / 'schema'}; install the project with its warehouse folder (pip install -e .)"
        )
        raise WarehouseError(msg)
    newest = files[-1].number
    if applied and max(applied) > newest:
        msg = f"this warehouse was written by a newer version (schema {max(applied)}, known here {newest}); update"
        raise WarehouseError(msg)
    due = [file for file in files if file.number not in applied]
    for file in due:
        connection.execute(file.text)
        digest = hashlib.sha256(file.text.encode()).hexdigest()
        connection.execute(
            "INSERT INTO meta.schema_migrations VALUES (?, ?, ?, ?)",
            [file.number, file.path.name, digest, datetime.now(UTC)],
        )
    return bool(due)


def _applied(connection: DuckDBPyConnection) -> set[int]:
    known = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND schema_name = 'meta' "
        "AND table_name = 'schema_migrations'",
        [ALIAS],
    ).fetchall()
    if known == [(0,)]:
        return set()
    return {number for (number,) in connection.execute("SELECT number FROM meta.schema_migrations").fetchall()}


def renew_views(connection: DuckDBPyConnection, folder: Path = FILES) -> bool:
    """Make the views whose SQL differs from what made them last time; return whether there were any."""
    made = settings(connection)
    changed = False
    for path in sorted((folder / "views").glob("*.sql")):
        sql = path.read_text(encoding="utf-8")
        key, digest = f"view:{path.stem}", hashlib.sha256(sql.encode()).hexdigest()
        if made.get(key) != digest:
            connection.execute(sql)
            put_setting(connection, key, digest)
            changed = True
    return changed


def settings(connection: DuckDBPyConnection) -> dict[str, str]:
    """Return the facts that the warehouse keeps about itself."""
    return dict(connection.execute("SELECT key, value FROM meta.settings").fetchall())


def put_setting(connection: DuckDBPyConnection, key: str, value: str) -> None:
    """Set one of these facts."""
    connection.execute("DELETE FROM meta.settings WHERE key = ?", [key])
    connection.execute("INSERT INTO meta.settings VALUES (?, ?)", [key, value])


def columns(connection: DuckDBPyConnection, table: str) -> dict[str, tuple[str, bool]]:
    """Return name -> (type, may be null) of a table's columns, in order; empty for an unknown table."""
    schema, _, bare = table.partition(".")
    found = connection.execute(
        "SELECT column_name, data_type, is_nullable FROM duckdb_columns() "
        "WHERE database_name = ? AND schema_name = ? AND table_name = ? ORDER BY column_index",
        [ALIAS, schema, bare],
    ).fetchall()
    return {column: (kind, nullable) for column, kind, nullable in found}


def make_features_table(connection: DuckDBPyConnection, timeframe: str, comments: Mapping[str, str]) -> None:
    """Create `features.features_<timeframe>`, or add and comment what it lacks.

    Existing columns and their rows stay, also of features that no longer exist.
    """
    table = f"features.features_{timeframe}"
    present = columns(connection, table)
    if not present:
        connection.execute(
            f"CREATE TABLE {table} (symbol VARCHAR NOT NULL, ts TIMESTAMPTZ NOT NULL, {_feature_columns(comments)} "
            "definitions_hash VARCHAR NOT NULL, run_id VARCHAR NOT NULL)"
        )
        connection.execute(f"ALTER TABLE {table} SET PARTITIONED BY (year(ts), month(ts))")
        connection.execute("INSERT INTO meta.table_keys VALUES (?, ['symbol', 'ts'])", [table])
        about = f"Features of {timeframe} bars, each known at the close of its bar. Null during the warm-up."
        connection.execute(f"COMMENT ON TABLE {table} IS {_sql.text(about)}")
        comments = {**_FIXED_COMMENTS, **comments}
    else:
        for feature in comments:
            if feature not in present:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {_sql.column(feature)} DOUBLE")
    known = column_comments(connection, table)
    for column, comment in comments.items():
        if known.get(column) != comment:
            connection.execute(f"COMMENT ON COLUMN {table}.{_sql.column(column)} IS {_sql.text(comment)}")


def features_table_fits(connection: DuckDBPyConnection, timeframe: str, comments: Mapping[str, str]) -> bool:
    """Tell whether the table has every feature with its present comment."""
    known = column_comments(connection, f"features.features_{timeframe}")
    return bool(known) and all(known.get(feature) == comment for feature, comment in comments.items())


def column_comments(connection: DuckDBPyConnection, table: str) -> dict[str, str | None]:
    """Return name -> comment of a table's columns."""
    schema, _, bare = table.partition(".")
    return dict(
        connection.execute(
            "SELECT column_name, comment FROM duckdb_columns() "
            "WHERE database_name = ? AND schema_name = ? AND table_name = ?",
            [ALIAS, schema, bare],
        ).fetchall()
    )


_FIXED_COMMENTS: Final = {
    "symbol": "perpetual future, BASE-QUOTE",
    "ts": "opening time of the bar (UTC)",
    "definitions_hash": "hash of the definitions of all features of the row",
    "run_id": "Dagster run that wrote the row",
}


def _feature_columns(features: Mapping[str, str]) -> str:
    return "".join(f"{_sql.column(feature)} DOUBLE, " for feature in features)
