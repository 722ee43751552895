"""Filling a scratch warehouse with what another one held at a snapshot.

Belongs here: copying whole tables between two lakes. Does not belong here: which snapshot, and what for.
"""

from collections.abc import Collection, Sequence

from duckdb import DuckDBPyConnection

from blofin_resources.warehouse import _sql
from blofin_resources.warehouse._place import ALIAS, Place

SOURCE = "copied"


def copy_tables(
    cursor: DuckDBPyConnection,
    source: Place,
    snapshot: int,
    schemas: Sequence[str],
    *,
    without_runs: Collection[str],
    whole: Collection[str],
) -> None:
    """Make the tables of some schemas hold what the source's held at a snapshot; see `Warehouse.copy_from`."""
    source.attach(cursor, SOURCE, snapshot=snapshot)
    try:
        for table in _shared_tables(cursor, schemas):
            name = _sql.name(table)
            cursor.execute(f"DELETE FROM {ALIAS}.{name}")
            condition, values = "", []
            if without_runs and table not in whole:
                condition, values = f" WHERE run_id NOT IN ({_sql.marks(without_runs)})", list(without_runs)
            cursor.execute(f"INSERT INTO {ALIAS}.{name} BY NAME SELECT * FROM {SOURCE}.{name}{condition}", values)
    finally:
        cursor.execute(f"DETACH {SOURCE}")


def _shared_tables(cursor: DuckDBPyConnection, schemas: Sequence[str]) -> list[str]:
    """Return the tables that both have: the source may be older than a table, never newer."""
    names = [
        {
            row[0]
            for row in cursor.execute(
                "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = ? "
                f"AND schema_name IN ({_sql.marks(schemas)})",
                [database, *schemas],
            ).fetchall()
        }
        for database in (SOURCE, ALIAS)
    ]
    return sorted(names[0] & names[1])
