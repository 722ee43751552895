"""Keeping the lakehouse small: fewer and larger files, no snapshots that nobody names, what it takes on disk.

Belongs here: DuckLake's maintenance calls, in their order, and what must never be expired. Does not belong here: when
they run (`blofin_assets.maintenance`).

Each call holds the writers' lock on its own, so that writers get their turn between two of them. Nothing a reader may
still look at is deleted: files go a day after they went out of use.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
from duckdb import DuckDBPyConnection

from blofin_resources.errors import WarehouseError
from blofin_resources.queries import query
from blofin_resources.warehouse import _sql
from blofin_resources.warehouse._place import ALIAS

MERGED_BYTES: Final = 64 * 2**20
"""Files above this size are not merged again: what a night may have to copy for each table and month."""

GONE_SHARE: Final = 0.1
"""Share of a file's rows that must be gone for it to be written anew: files with gaps cannot be merged."""

SAFE_AGE: Final = timedelta(hours=24)
"""A file that no snapshot knows may be a running writer's until it is this old."""

_META: Final = f"__ducklake_metadata_{ALIAS}"

Locked = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Upkeep:
    """What a maintenance did.

    Attributes
    ----------
    flushed
        Rows that went from the catalog into files.
    rewritten, merged, made
        Files that were written anew without their gone rows; files that were merged, and what they became.
    expired
        Snapshots that were forgotten.
    deleted, orphans
        Files removed that no snapshot refers to any more, and that none ever did.
    """

    flushed: int
    rewritten: int
    merged: int
    made: int
    expired: int
    deleted: int
    orphans: int


def maintain(
    cursor: DuckDBPyConnection,
    locked: Locked,
    *,
    now: datetime,
    keep_snapshots: timedelta,
    keep_named: timedelta | None,
    keep_files: timedelta,
) -> Upkeep:
    """See `Warehouse.maintain`."""
    if keep_files < SAFE_AGE:
        msg = f"files younger than {SAFE_AGE} may be a running writer's; keep_files is {keep_files}"
        raise WarehouseError(msg)
    old = (now - keep_files).isoformat()

    def call(sql: str) -> list[tuple[object, ...]]:
        try:
            with locked():
                return cursor.execute(sql).fetchall()
        except duckdb.Error as error:
            msg = f"the warehouse refused its maintenance ({sql.partition('(')[0]}): {_sql.first_line(error)}"
            raise WarehouseError(msg) from error

    flushed = call(f"CALL ducklake_flush_inlined_data('{ALIAS}')")
    rewritten = call(f"CALL ducklake_rewrite_data_files('{ALIAS}', delete_threshold => {GONE_SHARE})")
    merged = call(f"CALL ducklake_merge_adjacent_files('{ALIAS}', max_file_size => {MERGED_BYTES})")
    with locked():
        gone = expendable(cursor, now - keep_snapshots, None if keep_named is None else now - keep_named)
        if gone:
            cursor.execute(f"CALL ducklake_expire_snapshots('{ALIAS}', versions => {gone})")
    deleted = call(f"CALL ducklake_cleanup_old_files('{ALIAS}', older_than => TIMESTAMPTZ '{old}')")
    orphans = call(f"CALL ducklake_delete_orphaned_files('{ALIAS}', older_than => TIMESTAMPTZ '{old}')")
    return Upkeep(
        flushed=_sum(flushed, 2),
        rewritten=_sum(rewritten, 2),
        merged=_sum(merged, 2),
        made=_sum(merged, 3),
        expired=len(gone),
        deleted=len(deleted),
        orphans=len(orphans),
    )


def expendable(cursor: DuckDBPyConnection, horizon: datetime, named_until: datetime | None = None) -> list[int]:
    """Return the snapshots that no row names and that no run since the horizon can have read.

    A row names one in its column `snapshot_id`, as reports and results do; before `named_until` only the last that a
    table names counts, with which the next results may be compared. The one that was current at the horizon is kept as
    well: a run that began then may yet name it.
    """
    snapshots = cursor.execute(
        f"SELECT snapshot_id, snapshot_time FROM {ALIAS}.snapshots() ORDER BY snapshot_id"
    ).fetchall()
    named = named_snapshots(cursor)
    last = {max(numbers) for numbers in named.values()}
    kept = {
        number
        for number, time in snapshots
        if any(number in numbers for numbers in named.values())
        and (named_until is None or time >= named_until or number in last)
    }
    current_then = max((number for number, time in snapshots if time <= horizon), default=-1)
    return [
        number for number, time in snapshots[:-1] if time < horizon and number < current_then and number not in kept
    ]


def named_snapshots(cursor: DuckDBPyConnection) -> dict[str, set[int]]:
    """Return the snapshots that rows name, by table; no table that names none."""
    tables = cursor.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_columns() "
        "WHERE database_name = ? AND column_name = 'snapshot_id'",
        [ALIAS],
    ).fetchall()
    found: dict[str, set[int]] = {}
    for (table,) in tables:
        rows = cursor.execute(
            f"SELECT DISTINCT snapshot_id FROM {ALIAS}.{_sql.name(table)} WHERE snapshot_id IS NOT NULL"
        ).fetchall()
        if rows:
            found[table] = {int(number) for (number,) in rows}
    return found


def storage(cursor: DuckDBPyConnection, folder: Path) -> pl.DataFrame:
    """Return what each table takes; see `Warehouse.storage`."""
    tables = cursor.execute(query("warehouse/storage").format(catalog=ALIAS, meta=_META)).pl()
    inlined = dict(_inlined(cursor))
    counted = tables.with_columns(
        pl.col("table_id").replace_strict(inlined, default=0, return_dtype=pl.Int64).alias("inlined_rows")
    ).drop("table_id")
    sizes = [path.stat().st_size for path in _files(folder)]
    snapshots = cursor.execute(f"SELECT count(*) FROM {ALIAS}.snapshots()").fetchall()[0][0]
    whole = pl.DataFrame(
        {
            "table_name": ["*"],
            "files": [len(sizes)],
            "bytes": [sum(sizes)],
            "delete_files": [snapshots],
            "inlined_rows": [sum(inlined.values())],
        }
    )
    return pl.concat([whole, counted], how="vertical_relaxed")


def _inlined(cursor: DuckDBPyConnection) -> Iterator[tuple[int, int]]:
    """Yield each table's id and how many of its rows are in the catalog."""
    counts: dict[int, int] = {}
    named = cursor.execute(f"SELECT table_id, table_name FROM {_META}.ducklake_inlined_data_tables").fetchall()
    for number, name in named:
        rows = cursor.execute(f"SELECT count(*) FROM {_META}.{_sql.column(name)} WHERE end_snapshot IS NULL").fetchall()
        counts[number] = counts.get(number, 0) + rows[0][0]
    yield from counts.items()


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of data and catalog, but for those that go while one looks."""
    for path in (*folder.glob("data/**/*.parquet"), *folder.glob("catalog.sqlite*")):
        if path.is_file():
            yield path


def _sum(rows: list[tuple[object, ...]], column: int) -> int:
    return sum(int(str(row[column])) for row in rows)
