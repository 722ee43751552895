"""The warehouse's tables and views, made from the SQL files of the project.

Belongs here: applying migrations in order, renewing views, the tables of features. Does not belong here: column
definitions, which are SQL (`warehouse/schema/*.sql`, `warehouse/views/*.sql`).

A schema file is named `<number>_<what>.sql` and never changes once it is released: a change of the schema is a new
file. All functions expect the write lock and an open transaction where they write.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from duckdb import DuckDBPyConnection

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import _sql
from blofin_resources.warehouse._place import ALIAS

FILES: Final = Path(__file__).resolve().parents[2] / "warehouse"
"""Folder of the SQL files: a part of the project, wherever the run-time warehouse lies."""

FORMER_NAMES: Final = {
    "meta.storage_history": ("meta.storage", {"at": "measured_at"}),
    "research.cycle_history": ("research.cycle_events", {"at": "happened_at"}),
    "research.drift_tests": (
        "research.drift",
        {"promise": "expected", "promise_se": "expected_se", "promise_days": "expected_days"},
    ),
    "research.holdout_outcomes": ("research.exam_outcomes", {}),
    "research.strategy_lifecycle": ("research.strategy_events", {"at": "begins_at"}),
}
"""Renamed tables: their name before, and their columns' names before with those of today.

Snapshots from before a renaming hold the table by its former name; since then there is a view of it.
"""

FORMER_VALUES: Final = (
    (23, "research.strategy_scores", "window", """
        CASE WHEN version IS NULL THEN "window" WHEN "window" = '7d' THEN 'holdout' ELSE 'search_' || "window" END"""),
    (40, "research.trades", "pnl", "pnl - fees - funding"),
    (40, "research.forward_trades", "pnl", "pnl - fees - funding"),
    (101, "research.trials", "purpose", "CASE purpose WHEN 'exam' THEN 'holdout' ELSE purpose END"),
    (101, "research.forward_runs", "state", "CASE state WHEN 'followed' THEN 'tracked' ELSE state END"),
    (130, "research.strategy_scores", "window", """
        CASE WHEN version IS NOT NULL AND "window" = '7d' THEN 'holdout' ELSE "window" END"""),
)  # fmt: skip
"""Migrations that changed stored values: their number, the table and column, and the value of today of a former row.

Snapshots from before such a migration hold the former values. Of several for one column the first is in force that the
snapshot does not have, so each gives the value of today.
"""


class Past(NamedTuple):
    """What a snapshot holds.

    Attributes
    ----------
    tables
        Tables and views, `schema.table`, with their columns.
    migrations
        Numbers of the migrations that were applied by then.
    """

    tables: Mapping[str, Collection[str]]
    migrations: Collection[int]


def past(rows: Callable[[str], list[tuple[Any, ...]]], lake: str = "") -> Past:
    """Return what a snapshot holds.

    Parameters
    ----------
    rows : callable
        Answers a query on the snapshot.
    lake : str
        Alias of the database; empty for the one in use.

    Returns
    -------
    Past
        Its tables and migrations.
    """
    database = _sql.text(lake) if lake else "current_database()"
    tables = rows(
        "SELECT schema_name || '.' || table_name, list(column_name) FROM duckdb_columns() "
        f"WHERE database_name = {database} GROUP BY ALL"
    )
    numbers = rows(f"SELECT number FROM {f'{lake}.' if lake else ''}meta.schema_migrations")
    return Past(dict(tables), {number for (number,) in numbers})


def all_rows(held: Past, table: str, lake: str = "") -> str | None:
    """Return a query for all rows of a table, with the names and values of today.

    Parameters
    ----------
    held : Past
        What the snapshot holds.
    table : str
        Today's name.
    lake : str
        Alias of the database; empty for the one in use.

    Returns
    -------
    str or None
        `SELECT` with columns and values as today; None if the snapshot is older than the table.
    """
    former, renamed = (table, {}) if table in held.tables else FORMER_NAMES.get(table, (table, {}))
    if former not in held.tables:
        return None
    changes: dict[str, str] = {}
    for number, changed, column, value in FORMER_VALUES:
        if changed == table and number not in held.migrations and column in held.tables[former]:
            changes.setdefault(column, value)
    values = ", ".join(f"{value} AS {_sql.column(column)}" for column, value in changes.items())
    names = ", ".join(f"{_sql.column(old)} AS {_sql.column(new)}" for old, new in renamed.items())
    told = f"{f' REPLACE ({values})' if values else ''}{f' RENAME ({names})' if names else ''}"
    return f"SELECT *{told} FROM {f'{lake}.' if lake else ''}{_sql.name(former)}"


class _Migration(NamedTuple):
    number: int
    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")


def is_ours(connection: DuckDBPyConnection) -> bool:
    """Return whether a catalog is a warehouse of this project, or new and empty."""
    # not duckdb_tables(), which also counts the rows of each table
    tables = connection.execute(
        "SELECT DISTINCT schema_name || '.' || table_name FROM duckdb_columns() WHERE database_name = ?", [ALIAS]
    ).fetchall()
    return not tables or ("meta.schema_migrations",) in tables


def migrate(connection: DuckDBPyConnection, folder: Path = FILES) -> bool:
    """Apply the pending schema files in order; return whether there were any."""
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
    if not columns(connection, "meta.schema_migrations"):
        return set()
    return {number for (number,) in connection.execute("SELECT number FROM meta.schema_migrations").fetchall()}


def renew_views(connection: DuckDBPyConnection, folder: Path = FILES) -> bool:
    """Recreate the views whose SQL has changed; return whether there were any."""
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
    """Return the warehouse's own settings."""
    return dict(connection.execute("SELECT key, value FROM meta.settings").fetchall())


def put_setting(connection: DuckDBPyConnection, key: str, value: str) -> None:
    """Store one of the warehouse's own settings.

    Parameters
    ----------
    connection : DuckDBPyConnection
        In a transaction that writes.
    key, value : str
        Name and value; an earlier value is replaced.
    """
    connection.execute("DELETE FROM meta.settings WHERE key = ?", [key])
    connection.execute("INSERT INTO meta.settings VALUES (?, ?)", [key, value])


def columns(connection: DuckDBPyConnection, table: str) -> dict[str, tuple[str, bool]]:
    """Return name -> (type, nullable) of a table's columns, in order; empty for an unknown table."""
    schema, _, bare = table.partition(".")
    found = connection.execute(
        "SELECT column_name, data_type, is_nullable FROM duckdb_columns() "
        "WHERE database_name = ? AND schema_name = ? AND table_name = ? ORDER BY column_index",
        [ALIAS, schema, bare],
    ).fetchall()
    return {column: (kind, nullable) for column, kind, nullable in found}


def make_features_table(connection: DuckDBPyConnection, timeframe: str, comments: Mapping[str, str]) -> None:
    """Create `features.features_<timeframe>`, or add missing columns and comments.

    Existing columns and their rows stay, including those of features that no longer exist.

    Parameters
    ----------
    connection : DuckDBPyConnection
        In a transaction that writes.
    timeframe : str
        `1m`, `5m` or `60m`.
    comments : dict of str to str
        Feature name -> description with unit.
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
    """Return whether a features table has all features with their current comments.

    Parameters
    ----------
    connection : DuckDBPyConnection
        A connection to the lake.
    timeframe : str
        `1m`, `5m` or `60m`.
    comments : dict of str to str
        Feature name -> description with unit.

    Returns
    -------
    bool
        Whether `make_features_table` has nothing to do.
    """
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
