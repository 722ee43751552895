"""Atomic, idempotent writes: prepared frame by frame, committed together.

Belongs here: what a replace and an append mean, and the checks on a frame before it is written. Does not belong
here: locking and BEGIN/COMMIT (`_warehouse`), which go around `Transaction.apply`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, NamedTuple

import duckdb
import polars as pl
import polars.selectors as cs
from duckdb import DuckDBPyConnection

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import _sql
from blofin_resources.warehouse._place import ALIAS, all_cores
from blofin_resources.warehouse._tables import Columns, Tables

_TIMES: Final = frozenset({"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ", "DATE"})

_OF_THE_WRITING: Final = frozenset({"run_id", "timestamp", "snapshot_id"})
"""Columns that tell of the writing and not of what is written."""


@dataclass(frozen=True)
class Change:
    """What a write did to one table: rows that are new, rows that are gone, rows given.

    A row whose values changed counts as one gone and one new.
    """

    table: str
    added: int
    removed: int
    given: int


class _Scope(NamedTuple):
    """Rows that a replace is about, as an SQL condition."""

    sql: str
    values: list[object]
    columns: frozenset[str]


class _Write(NamedTuple):
    table: str
    staged: str
    columns: Columns
    given: int
    key: tuple[str, ...]
    scope: _Scope | None
    compared: tuple[str, ...]

    @property
    def may_take_keys(self) -> bool:
        """Whether a key may be stored already in a row that this write neither compares with nor removes."""
        looked_at = set(self.compared) if self.scope is None else self.scope.columns
        return bool(self.key) and not looked_at <= set(self.key)


class Transaction:
    """Writes that reach the warehouse together, or not at all.

    Made by `Warehouse.transaction`. Nothing is written, and no lock is held, before the end of its `with` block: so
    computing inside the block keeps nobody waiting, and reads inside it do not see its own writes.

    Attributes
    ----------
    run_id : str
        Dagster run that writes.
    snapshot : int or None
        After the block: the snapshot that holds these writes, or the current one where nothing differed. Before: None.
    changes : list of Change
        After the block: what each call did, in order.
    """

    def __init__(self, cursor: DuckDBPyConnection, run_id: str, tables: Tables) -> None:
        self.run_id = run_id
        self.snapshot: int | None = None
        self.changes: list[Change] = []
        self._cursor = cursor
        self._tables = tables
        self._writes: list[_Write] = []
        self._late: list[Callable[[], None]] = []

    def replace(
        self,
        table: str,
        frame: pl.DataFrame,
        start: datetime | date | None = None,
        end: datetime | date | None = None,
        *,
        time_column: str = "ts",
        **equals: object,
    ) -> None:
        """Make `frame` all that the table holds in a scope.

        Rows that are stored with the same values stay as they are, with the run that wrote them; a second call with
        the same frame therefore writes nothing and makes no snapshot. Columns of the writing itself do not count as
        values: `run_id`, `timestamp` (by the clock on the wall) and `snapshot_id` (what the run read).

        Parameters
        ----------
        table : str
            `schema.table`.
        frame : DataFrame
            Rows by column name, any order of columns; `run_id` is added, an absent nullable column becomes null, as
            does NaN. Values are cast to the column's type. Times must have a zone.
        start, end : datetime or date, optional
            Scope: `start <= time_column < end`; either may be left open.
        time_column : str
            Column that `start` and `end` refer to.
        **equals
            Scope: column = value, or in a list of values, or null for None.

        Raises
        ------
        WarehouseError
            For an unknown table or column, an absent or null value where one is needed, rows outside the scope or
            twice the same key, or no scope at all. The message names what is wrong.
        """
        columns = self._tables.columns(table, frame.columns)
        scope = _scope(table, columns, start, end, time_column=time_column, equals=equals)
        compared = tuple(column for column in columns if column not in _OF_THE_WRITING)
        write = self._stage(table, frame, columns, scope=scope, compared=compared)
        self._refuse_outside(write, scope)
        self._writes.append(write)

    def append(self, table: str, frame: pl.DataFrame, key: Sequence[str] | None = None) -> None:
        """Add the rows of `frame` whose key the table does not hold yet; a second append adds nothing.

        Parameters
        ----------
        table : str
            `schema.table`.
        frame : DataFrame
            As for `replace`.
        key : sequence of str, optional
            Columns that tell rows apart; the table's own key (see `meta.table_keys`) where omitted.

        Raises
        ------
        WarehouseError
            As for `replace`, but for the scope.
        """
        columns = self._tables.columns(table, frame.columns)
        if key is not None:
            _known(table, columns, key)
        own = self._tables.key(table)
        self._writes.append(self._stage(table, frame, columns, compared=tuple(key or own)))

    def late(self, work: Callable[[], None]) -> None:
        """Do some work, which may replace and append, once nobody else can commit any more.

        For what is to be written depending on what is stored: read earlier, another process could change it between.
        It keeps every other writer waiting, so it is to be short.
        """
        self._late.append(work)

    def settle(self) -> None:
        """Do the late work; the lock is held, and the database transaction has not begun."""
        for work in self._late:
            work()

    def apply(self) -> bool:
        """Carry the writes out inside the open database transaction; return whether anything changed."""
        for write in self._writes:
            with all_cores(self._cursor, write.given):
                self._carry_out(write)
        return any(change.added or change.removed for change in self.changes)

    def _carry_out(self, write: _Write) -> None:
        # most scopes hold nothing yet: to compare with what is not there costs more than all the rest
        stored = write.scope is None or self._holds(write, write.scope)
        removed = self._delete(write, write.scope) if write.scope is not None and stored else 0
        added = self._insert(write, compare=stored)
        self.changes.append(Change(write.table, added, removed, write.given))
        if added and write.may_take_keys:
            self._refuse_taken_keys(write)

    def _stage(
        self,
        table: str,
        frame: pl.DataFrame,
        columns: Columns,
        *,
        compared: tuple[str, ...],
        scope: _Scope | None = None,
    ) -> _Write:
        """Check a frame and put it, in the table's types and the order of its key, where it can be inserted from.

        It is read where it lies and not copied into the database first, which would take its size twice again.
        """
        if "run_id" in columns and "run_id" not in frame.columns:
            frame = frame.with_columns(run_id=pl.lit(self.run_id))
        _check_columns(table, frame, columns)
        own = self._tables.key(table)
        frame = _ordered(frame.with_columns(cs.float().fill_nan(None)), own)
        staged = f"staged_{len(self._writes)}"
        write = _Write(table, f"temp.{staged}", columns, frame.height, own, scope, compared)
        with all_cores(self._cursor, frame.height):
            self._show(staged, table, frame, columns)
            self._refuse_twice(write, own)
            if scope is None:
                self._refuse_twice(write, compared)
        return write

    def _show(self, staged: str, table: str, frame: pl.DataFrame, columns: Columns) -> None:
        """Make a view on a frame in the table's types, and refuse what does not fit them."""
        casts = (
            f"CAST({_sql.column(column) if column in frame.columns else 'NULL'} AS {kind}) AS {_sql.column(column)}"
            for column, (kind, _) in columns.items()
        )
        try:
            self._cursor.register(f"given_{staged}", frame)
            self._cursor.execute(
                f"CREATE OR REPLACE TEMP VIEW {staged} AS SELECT {', '.join(casts)} FROM given_{staged}"
            )
            # a view casts when it is read: what does not fit is to be told here and not at the end of the block
            self._first(f"SELECT bit_xor(hash({_sql.names(columns)})) FROM {staged}", [])
        except duckdb.Error as error:
            msg = f"{table} cannot take these rows: {_sql.first_line(error)}"
            raise WarehouseError(msg) from error

    def _holds(self, write: _Write, scope: _Scope) -> bool:
        """Whether anything is stored in a scope."""
        found = self._first(f"SELECT 1 FROM {ALIAS}.{write.table} AS stored WHERE {scope.sql} LIMIT 1", scope.values)
        return found is not None

    def _delete(self, write: _Write, scope: _Scope) -> int:
        """Remove the rows in scope that the staged rows do not repeat."""
        return self._count(
            f"DELETE FROM {ALIAS}.{write.table} AS stored WHERE {scope.sql} "
            f"AND NOT EXISTS (SELECT 1 FROM {write.staged} AS staged WHERE {_same(write.compared)})",
            scope.values,
        )

    def _insert(self, write: _Write, *, compare: bool) -> int:
        """Add the staged rows, those alone that are not stored where there is something to compare with.

        For a replace they are compared by all values, for an append by key.
        """
        insert = f"INSERT INTO {ALIAS}.{write.table} BY NAME SELECT * FROM {write.staged} AS staged"
        if not compare:
            return self._count(insert, [])
        present = f"SELECT 1 FROM {ALIAS}.{write.table} AS stored WHERE {_same(write.compared)}"
        within = self._around(write) if write.scope is None else write.scope
        values: list[object] = []
        if within is not None:
            present += f" AND {within.sql}"
            values = within.values
        return self._count(f"{insert} WHERE NOT EXISTS ({present})", values)

    def _around(self, write: _Write) -> _Scope | None:
        """Return the stretch of time that the staged rows span, where their key has a time: no other row can be equal.

        Without it, each append would read the key of every row that the table has.
        """
        times = [name for name in write.compared if write.columns[name][0] in _TIMES and not write.columns[name][1]]
        if not times or not write.given:
            return None
        parts = ", ".join(f"min({_sql.column(name)}), max({_sql.column(name)})" for name in times)
        bounds = self._first(f"SELECT {parts} FROM {write.staged}", [])
        sql = " AND ".join(f"{_sql.column(name, 'stored')} BETWEEN ? AND ?" for name in times)
        return _Scope(sql, list(bounds or ()), frozenset(times))

    def _refuse_twice(self, write: _Write, key: Sequence[str]) -> None:
        if not key:
            return
        found = self._first(
            f"SELECT {_sql.names(key)} FROM {write.staged} GROUP BY ALL HAVING count(*) > 1 LIMIT 1", []
        )
        if found is not None:
            msg = f"{write.table} takes one row for each {', '.join(key)}, but was given more for {_shown(found)}"
            raise WarehouseError(msg)

    def _refuse_outside(self, write: _Write, scope: _Scope) -> None:
        found = self._first(
            f"SELECT {_sql.names(sorted(scope.columns))} FROM {write.staged} AS stored "
            f"WHERE NOT coalesce({scope.sql}, false) LIMIT 1",
            scope.values,
        )
        if found is not None:
            outside = f"{', '.join(sorted(scope.columns))} = {_shown(found)}"
            msg = f"{write.table} was given a row outside the replaced scope: {outside}"
            raise WarehouseError(msg)

    def _refuse_taken_keys(self, write: _Write) -> None:
        shown = ", ".join(_sql.column(column, "staged") for column in write.key)
        found = self._first(
            f"SELECT {shown} FROM {write.staged} AS staged JOIN {ALIAS}.{write.table} AS stored ON {_same(write.key)} "
            f"GROUP BY ALL HAVING count(*) > 1 LIMIT 1",
            [],
        )
        if found is not None:
            msg = f"{write.table} already holds another row of {', '.join(write.key)} = {_shown(found)}"
            raise WarehouseError(msg)

    def _count(self, sql: str, values: list[object]) -> int:
        found = self._first(sql, values)
        return int(str(found[0])) if found is not None else 0

    def _first(self, sql: str, values: list[object]) -> tuple[object, ...] | None:
        return self._cursor.execute(sql, values).fetchone()


def _scope(
    table: str,
    columns: Columns,
    start: datetime | date | None,
    end: datetime | date | None,
    *,
    time_column: str,
    equals: Mapping[str, object],
) -> _Scope:
    bounds = [(sign, bound) for sign, bound in ((">=", start), ("<", end)) if bound is not None]
    used = frozenset(equals) | ({time_column} if bounds else frozenset())
    if not used:
        msg = f"replacing all of {table} needs a scope: a start, an end or a column's value"
        raise WarehouseError(msg)
    _known(table, columns, used)
    naive = [bound for _, bound in bounds if isinstance(bound, datetime) and bound.tzinfo is None]
    if naive:
        msg = f"{table} cannot be replaced from or to {naive[0]!r}, which has no time zone; give a UTC time"
        raise WarehouseError(msg)
    parts = [f"{_sql.column(time_column, 'stored')} {sign} ?" for sign, _ in bounds]
    values: list[object] = [bound for _, bound in bounds]
    for column, value in equals.items():
        stored = _sql.column(column, "stored")
        if value is None:
            parts.append(f"{stored} IS NULL")
        elif isinstance(value, (list, tuple, set, frozenset)):
            parts.append(f"{stored} IN ({_sql.marks(value)})" if value else "false")
            values.extend(value)
        else:
            parts.append(f"{stored} = ?")
            values.append(value)
    return _Scope(" AND ".join(parts), values, used)


def _ordered(frame: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return the frame sorted by its columns of the key, itself where it is sorted: most are, and a copy costs."""
    columns = [column for column in key if column in frame.columns]
    above, equal = pl.lit(value=False), pl.lit(value=True)
    for column in columns:
        now, before = pl.col(column), pl.col(column).shift()
        above, equal = above | (equal & (now > before)), equal & (now == before)
    in_order = not columns or frame.select((above | equal).slice(1).all()).item()
    return frame if in_order else frame.sort(columns)


def _same(columns: Sequence[str]) -> str:
    """Return the condition that a staged and a stored row agree in these columns, null with null."""
    return " AND ".join(
        f"{_sql.column(column, 'staged')} IS NOT DISTINCT FROM {_sql.column(column, 'stored')}" for column in columns
    )


def _known(table: str, columns: Columns, used: Sequence[str] | frozenset[str]) -> None:
    unknown = sorted(set(used) - set(columns))
    if unknown:
        msg = f"{table} has no column {', '.join(unknown)}; it has {', '.join(columns)}"
        raise WarehouseError(msg)


def _check_columns(table: str, frame: pl.DataFrame, columns: Columns) -> None:
    """Refuse unknown columns, absent or null values that are needed, and times without a zone."""
    _known(table, columns, frame.columns)
    needed = [column for column, (_, nullable) in columns.items() if not nullable]
    absent = [column for column in needed if column not in frame.columns]
    if absent:
        msg = f"{table} needs a value for {', '.join(absent)}"
        raise WarehouseError(msg)
    empty = [column for column in needed if frame[column].is_null().any() or _has_nan(frame[column])]
    if empty:
        msg = f"{table} was given rows with no value for {', '.join(empty)}"
        raise WarehouseError(msg)
    zoneless = [
        column
        for column, kind in frame.schema.items()
        if isinstance(kind, pl.Datetime) and kind.time_zone is None and columns[column][0].startswith("TIMESTAMP")
    ]
    if zoneless:
        msg = f"{table} was given times without a time zone in {', '.join(zoneless)}; convert them to UTC"
        raise WarehouseError(msg)


def _has_nan(column: pl.Series) -> bool:
    return column.dtype.is_float() and column.is_nan().any()


def _shown(values: tuple[object, ...]) -> str:
    return ", ".join(value.isoformat() if isinstance(value, date) else str(value) for value in values)
