"""Fill a scratch warehouse with the contents of another at a snapshot.

Belongs here: copying whole tables between two lakes. Does not belong here: which snapshot, and why.
"""

from collections.abc import Collection, Sequence

from duckdb import DuckDBPyConnection

from blofin_resources.warehouse import _schema, _sql
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
    """See `Warehouse.copy_from`."""
    source.attach(cursor, SOURCE, snapshot=snapshot)
    try:
        held = _schema.past(lambda sql: cursor.execute(sql).fetchall(), SOURCE)
        for table in sorted(_tables(cursor, schemas)):
            rows = _schema.all_rows(held, table, SOURCE)
            if rows is None:
                continue  # the source is older than the table
            name = _sql.name(table)
            cursor.execute(f"DELETE FROM {ALIAS}.{name}")
            condition, values = "", []
            if without_runs and table not in whole:
                condition, values = f" WHERE run_id NOT IN ({_sql.marks(without_runs)})", list(without_runs)
            cursor.execute(f"INSERT INTO {ALIAS}.{name} BY NAME {rows}{condition}", values)
    finally:
        cursor.execute(f"DETACH {SOURCE}")


def _tables(cursor: DuckDBPyConnection, schemas: Sequence[str]) -> set[str]:
    rows = cursor.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = ? "
        f"AND schema_name IN ({_sql.marks(schemas)})",
        [ALIAS, *schemas],
    ).fetchall()
    return {row[0] for row in rows}
