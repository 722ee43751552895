"""The `Warehouse`: one connection to the lakehouse, safe to share between threads and beside other processes.

Belongs here: opening and closing, when the lock is held, transactions, snapshots. Does not belong here: the SQL of
reads (`_reads`), of writes (`_transaction`) or of the schema (`_schema`).
"""

import re
import threading
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final, Self

import duckdb
import polars as pl
from duckdb import DuckDBPyConnection

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import _copy, _identity, _reads, _schema, _sql, _upkeep
from blofin_resources.warehouse._place import ALIAS, Place, connect, load_for, one_thread
from blofin_resources.warehouse._tables import Columns, Tables
from blofin_resources.warehouse._transaction import Transaction
from features.bars import Timeframe

_INSTANCE_FILE: Final = "warehouse_instance_id"

_UNHELD: Final = re.compile(r"\b(INTERVAL|UNION)\b")
"""Types of DuckDB, also within others, that polars has not."""

_QUOTED: Final = re.compile(r"""'[^']*'|\"[^\"]*\"""")
"""Names and values within a type, such as those of an enum."""


class Warehouse:
    """The lakehouse in one folder, holding one market. Also a `features.bars.CandleSource`.

    Open one for each process (a connection costs some 0.15 s) and share it: each thread gets its own cursor. Other
    processes may read and write at the same time. All times are UTC.

    Attributes
    ----------
    folder : Path
        Absolute folder of the warehouse.
    """

    def __init__(self, place: Place, connection: DuckDBPyConnection) -> None:
        self.folder = place.folder
        self._place = place
        self._connection = connection
        self._local = threading.local()
        self._tables = Tables(self._find_columns, self._find_key)

    @classmethod
    def open(cls, folder: Path, *, market: str, market_id: str = "", catalog: str | None = None) -> Self:
        """Open a warehouse for reading and writing; create it, or bring its schema up to date, where needed.

        Parameters
        ----------
        folder : Path
            Folder of the warehouse; made where absent.
        market : str
            Market source whose data it holds, such as `sample`; fixed when the warehouse is created.
        market_id : str
            What tells two markets of that name apart, such as the seed of a sample market.
        catalog : str, optional
            DuckLake catalog: an SQLite file, or `postgres:` and connection parameters; `catalog.sqlite` in the folder
            where omitted.

        Raises
        ------
        WarehouseError
            If the folder cannot be written or belongs to another catalog, or the catalog is something else's or
            damaged, or holds another market.
        """
        place = Place.of(folder, catalog)
        place.make()
        with place.locked(), _opened(place, connect(place)) as connection:
            place.refuse_foreign(connection)
            place.attach(connection, ALIAS)
            connection.execute(f"USE {ALIAS}")
            _refuse_other_lake(place, connection)
            _identity.require_files(place, connection)
            _identity.mark(place, _prepare(place, connection, market, market_id))
            one_thread(connection)  # not where people query: theirs are of many rows
        return cls(place, connection)

    @classmethod
    def open_readonly(cls, folder: Path, *, catalog: str | None = None) -> Self:
        """Open an existing warehouse, of whatever market, for reading alone.

        Raises
        ------
        WarehouseError
            If there is none, it cannot be read, or its folder belongs to another catalog.
        """
        place = Place.of(folder, catalog)
        absent = WarehouseError(f"there is no warehouse in {place.folder}; make one with: blofin run")
        if place.file is not None and not place.file.exists():
            raise absent
        with _opened(place, connect(place)) as connection:
            place.refuse_foreign(connection)
            # no lock: a reader may lack the right to write it, and a busy catalog is waited for
            place.attach(connection, ALIAS, read_only=True)
            connection.execute(f"USE {ALIAS}")
            _refuse_other_lake(place, connection)
            if not _schema.columns(connection, "meta.settings"):
                raise absent
            _identity.require_files(place, connection)
            _identity.refuse_other(place, connection)
        return cls(place, connection)

    def close(self) -> None:
        """Close the connection and all its cursors."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- reading -----------------------------------------------------------------------------------------------

    def cursor(self) -> DuckDBPyConnection:
        """Return a new DuckDB cursor on the warehouse, to be closed by the caller, for transactions that only read.

        Writes go through `transaction`: a write by hand escapes the lock and the checks.
        """
        cursor = self._connection.cursor()
        try:
            cursor.execute(f"USE {ALIAS}")
        except duckdb.Error as error:
            cursor.close()
            msg = f"the warehouse {self.folder} cannot be reached any more: {_sql.first_line(error)}"
            raise WarehouseError(msg) from error
        return cursor

    def read(self, sql: str, params: Sequence[object] | Mapping[str, object] | None = None) -> pl.DataFrame:
        """Return the rows of a query.

        Parameters
        ----------
        sql : str
            One query; tables as `schema.table`.
        params : sequence or dict, optional
            Values for `?`, or for `$name`.

        Returns
        -------
        DataFrame
            Times as `Datetime("us", "UTC")`, SQL null as null; without columns where nothing but a comment was asked.

        Raises
        ------
        WarehouseError
            If DuckDB refuses the query, with its reason, or a column is of a type that a frame cannot hold.
        """
        try:
            # an arrow result keeps the zone of times; params may not be None for a statement without marks
            return _frame(self._own_cursor().execute(sql, params or []))
        except duckdb.Error as error:
            msg = f"the warehouse cannot answer this query: {_sql.first_line(error)}"
            raise WarehouseError(msg) from error

    def read_at(
        self, snapshot: int, sql: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> pl.DataFrame:
        """Return the rows of a query on the warehouse as it was at a snapshot; otherwise as `read`.

        Raises
        ------
        WarehouseError
            If there is no such snapshot (any more), or DuckDB refuses the query.
        """
        alias = f"at_{uuid.uuid4().hex}"
        cursor = self._connection.cursor()
        try:
            self._place.attach(cursor, alias, snapshot=snapshot)
            try:
                cursor.execute(f"USE {alias}")
                return _frame(cursor.execute(sql, params or []))
            finally:
                cursor.execute("USE memory")
                cursor.execute(f"DETACH {alias}")
        except duckdb.Error as error:
            msg = f"the warehouse as of snapshot {snapshot} cannot answer this query: {_sql.first_line(error)}"
            raise WarehouseError(msg) from error
        finally:
            cursor.close()

    def frozen(self, snapshot: int | None = None) -> Self:
        """Return this warehouse as it is at a snapshot (default: the current one), for reading alone; close it after.

        Several reads then see one state, and `snapshot_id` names it.

        Raises
        ------
        WarehouseError
            If there is no such snapshot (any more).
        """
        number = self.snapshot_id() if snapshot is None else snapshot
        connection = connect(self._place)
        try:
            one_thread(connection)
            self._place.attach(connection, ALIAS, snapshot=number)
            connection.execute(f"USE {ALIAS}")
        except duckdb.Error as error:
            connection.close()
            msg = f"the warehouse as of snapshot {number} cannot be opened: {_sql.first_line(error)}"
            raise WarehouseError(msg) from error
        return type(self)(self._place, connection)

    def snapshot_id(self) -> int:
        """Return the number of the current snapshot: what a read now would see."""
        return int(self.read(f"SELECT * FROM {ALIAS}.current_snapshot()").item())

    def snapshots(self) -> pl.DataFrame:
        """Return every snapshot with its time and the run that wrote it.

        Returns
        -------
        DataFrame
            Columns `snapshot_id`, `snapshot_time` (UTC) and `run_id` (null for changes of the schema), oldest first.
        """
        return self.read(
            f"SELECT snapshot_id, snapshot_time, author AS run_id FROM {ALIAS}.snapshots() ORDER BY snapshot_id"
        )

    def candles(
        self, symbols: Sequence[str], timeframe: Timeframe, start: datetime | None, end: datetime
    ) -> pl.DataFrame:
        """See `features.bars.CandleSource.candles`."""
        return _reads.candles(self.read, symbols, timeframe, start, end)

    def last_candles(self, symbols: Sequence[str], timeframe: Timeframe, as_of: datetime, count: int) -> pl.DataFrame:
        """See `features.bars.CandleSource.last_candles`."""
        return _reads.last_candles(self.read, symbols, timeframe, as_of, count)

    def funding(self, symbols: Sequence[str], start: datetime | None, end: datetime) -> pl.DataFrame:
        """See `features.bars.CandleSource.funding`."""
        return _reads.funding(self.read, symbols, start, end)

    def mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `features.bars.CandleSource.mark_candles`."""
        return _reads.mark_candles(self.read, symbols, start, end)

    def known_symbols(self) -> list[str]:
        """Return every symbol that has an instrument or a 1-minute candle, sorted."""
        return _reads.known_symbols(self.read)

    def covered(self, dataset: str, symbols: Sequence[str], start_day: date, end_day: date) -> pl.DataFrame:
        """Return how far each day is stored.

        Parameters
        ----------
        dataset : str
            Table without its schema, such as `candles_1m`.
        symbols : sequence of str
            Symbols to look at.
        start_day, end_day : date
            `start_day <= day < end_day`.

        Returns
        -------
        DataFrame
            `symbol`, `day`, `through` (complete up to this UTC time), `rows`; a day that is not stored has no row.
        """
        return _reads.covered(self.read, dataset, symbols, start_day, end_day)

    def missing_days(
        self,
        datasets: Sequence[str],
        symbols: Sequence[str],
        start_day: date,
        end_day: date,
        as_of: datetime | None = None,
    ) -> dict[str, list[date]]:
        """Return, for each dataset, the days in `start_day <= day < end_day` that are not complete for every symbol.

        A day is complete when it is stored through its end, or through `as_of` where that comes first.
        """
        return _reads.missing_days(self.read, datasets, symbols, start_day, end_day, as_of=as_of)

    def integrity(self) -> list[str]:
        """Return a line for each table that holds a key twice; none if all is well."""
        return _reads.broken_keys(self.read)

    # --- writing -----------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, run_id: str) -> Iterator[Transaction]:
        """Collect writes, and commit them together at the end of the block.

        The lock is taken at the end, so computing inside the block keeps no other writer waiting. An exception in the
        block, or in any of the writes, leaves the warehouse as it was.

        Parameters
        ----------
        run_id : str
            Dagster run that writes; it is stored in every row and with the snapshot.

        Raises
        ------
        WarehouseError
            If `run_id` is empty, or the database refuses the writes.
        """
        if not run_id.strip() or run_id == "none":
            msg = f"run id {run_id!r} names no run; every write says which Dagster run made it"
            raise WarehouseError(msg)
        # not `USE`d: each statement on a cursor in the lake first asks the catalog for the newest snapshot
        cursor = self._connection.cursor()
        try:
            writes = Transaction(cursor, run_id, self._tables)
            yield writes
            with self._place.locked():
                writes.settle()
                with _transaction(cursor) as outcome:
                    if writes.apply():
                        cursor.execute(f"CALL {ALIAS}.set_commit_message(?, ?)", [run_id, _summary(writes)])
                        outcome.append("changed")
                writes.snapshot = self.snapshot_id()
        finally:
            cursor.close()

    def ensure_features_table(self, timeframe: str, comments: Mapping[str, str]) -> None:
        """Create `features.features_<timeframe>`, or add the columns that it lacks.

        Parameters
        ----------
        timeframe : str
            `1m`, `5m` or `60m`.
        comments : dict of str to str
            Feature name -> description with unit; a Float64 column each, beside symbol, ts, definitions_hash, run_id.
        """
        cursor = self.cursor()
        try:
            if _schema.features_table_fits(cursor, timeframe, comments):
                return
            with self._place.locked(), _transaction(cursor) as outcome:
                _schema.make_features_table(cursor, timeframe, comments)
                outcome.append("changed")
        finally:
            cursor.close()

    def maintain(
        self,
        *,
        now: datetime,
        keep_snapshots: timedelta = timedelta(days=2),
        keep_files: timedelta = _upkeep.SAFE_AGE,
    ) -> _upkeep.Upkeep:
        """Merge small files, forget snapshots that nobody names, remove files that nobody can read any more.

        May run beside readers and writers; a writer waits for one call at most.

        Parameters
        ----------
        now : datetime
            Time on the wall (UTC), since snapshots and files carry such times.
        keep_snapshots : timedelta
            Every snapshot that was current within this time is kept, whether or not a row names it.
        keep_files : timedelta
            How long a file stays after it went out of use; at least 24 hours.

        Raises
        ------
        WarehouseError
            If `keep_files` is too short, the folder is not the catalog's any more, or the database refuses.
        """
        try:
            _identity.require_same(self._place, self._own_cursor())
        except duckdb.Error as error:
            msg = f"the warehouse refused its maintenance: {_sql.first_line(error)}"
            raise WarehouseError(msg) from error
        cursor = self._connection.cursor()
        try:
            return _upkeep.maintain(
                cursor, self._place.locked, now=now, keep_snapshots=keep_snapshots, keep_files=keep_files
            )
        finally:
            cursor.close()

    def copy_from(
        self,
        other: "Warehouse",
        snapshot: int,
        schemas: Sequence[str],
        *,
        without_runs: Collection[str] = (),
        whole: Collection[str] = (),
    ) -> None:
        """Make the tables of some schemas hold what those of another warehouse held at a snapshot, run ids included.

        For scratch warehouses: what the tables held before is gone.

        Parameters
        ----------
        other : Warehouse
            Where from; it is only read.
        snapshot : int
            Of the other.
        schemas : sequence of str
            Such as `market`.
        without_runs : collection of str
            Rows that these runs wrote are left out.
        whole : collection of str
            Tables that are copied with the rows of those runs.

        Raises
        ------
        WarehouseError
            If there is no such snapshot (any more), or the database refuses.
        """
        cursor = self._connection.cursor()
        try:
            source = other._place  # noqa: SLF001 - two of a kind
            load_for(self._connection, source)
            with self._place.locked():
                _copy.copy_tables(cursor, source, snapshot, schemas, without_runs=without_runs, whole=whole)
        except duckdb.Error as error:
            msg = f"snapshot {snapshot} of {other.folder} cannot be copied: {_sql.first_line(error)}"
            raise WarehouseError(msg) from error
        finally:
            cursor.close()

    def storage(self) -> pl.DataFrame:
        """Return what each table takes on disk.

        Returns
        -------
        DataFrame
            `table_name`, `files`, `bytes`, `delete_files` of the current snapshot, `inlined_rows` (in the catalog).
            The first row, `*`, is of all files in the folder, with the number of snapshots as `delete_files`.
        """
        cursor = self._connection.cursor()
        try:
            return _upkeep.storage(cursor, self.folder)
        finally:
            cursor.close()

    def bind_instance(self, dagster_home: Path) -> str | None:
        """Tie the warehouse to a Dagster instance, the first that asks.

        Parameters
        ----------
        dagster_home : Path
            Folder of the instance; an id file is put there, so that the tie survives moving both.

        Returns
        -------
        str or None
            A warning, where another instance that still exists is tied already.
        """
        home = Path(dagster_home).absolute()
        mine = _instance_id(home)
        cursor = self.cursor()
        try:
            with self._place.locked(), _transaction(cursor) as outcome:
                known = _schema.settings(cursor)
                bound, where = known.get("instance_id"), known.get("instance_folder")
                if bound not in {None, mine} and where is not None and _read_id(Path(where)) == bound:
                    return (
                        f"the runs of this warehouse are in {where}, not in {home}; "
                        f"set DAGSTER_HOME={where} to see them all"
                    )
                if (bound, where) != (mine, str(home)):
                    _schema.put_setting(cursor, "instance_id", mine)
                    _schema.put_setting(cursor, "instance_folder", str(home))
                    outcome.append("changed")
        finally:
            cursor.close()
        return None

    def _own_cursor(self) -> DuckDBPyConnection:
        if not hasattr(self._local, "cursor"):
            self._local.cursor = self.cursor()
        cursor: DuckDBPyConnection = self._local.cursor
        return cursor

    def _find_columns(self, table: str) -> Columns:
        return _schema.columns(self._own_cursor(), table)

    def _find_key(self, table: str) -> tuple[str, ...]:
        found = self.read("SELECT columns FROM meta.table_keys WHERE table_name = ?", [table])
        return tuple(found["columns"].item()) if found.height else ()


def _frame(result: DuckDBPyConnection | None) -> pl.DataFrame:
    """Return the rows of what was executed: none, and no columns, where that was a comment or nothing."""
    if result is None:
        return pl.DataFrame()
    for name, kind, *_ in result.description or []:
        # looked for beforehand: polars refuses some of these and ends the program at others
        if _UNHELD.search(_QUOTED.sub("", str(kind))):
            msg = f"column {name} is of type {kind}, which a table cannot hold; cast it: ...::VARCHAR"
            raise WarehouseError(msg)
    return result.pl()


@contextmanager
def _opened(place: Place, connection: DuckDBPyConnection) -> Iterator[DuckDBPyConnection]:
    """Yield a connection, and close it if opening the warehouse fails."""
    try:
        yield connection
    except duckdb.Error as error:
        connection.close()
        where = place.file or place.uri.partition(":")[0]
        way_out = "restore it from a copy" if place.file else "start that server, or correct BLOFIN_CATALOG"
        msg = f"the warehouse catalog {where} cannot be opened: {_sql.first_line(error)}; {way_out}"
        raise WarehouseError(msg) from error
    except BaseException:
        connection.close()
        raise


@contextmanager
def _transaction(cursor: DuckDBPyConnection) -> Iterator[list[str]]:
    """Run the block between BEGIN and COMMIT; roll back on any exception, or where nothing was put on the list."""
    outcome: list[str] = []
    cursor.execute("BEGIN")
    try:
        yield outcome
        cursor.execute("COMMIT" if outcome else "ROLLBACK")
    except BaseException as error:
        with suppress(duckdb.Error):
            cursor.execute("ROLLBACK")
        if isinstance(error, duckdb.Error):
            msg = f"the warehouse refused the write, and nothing was changed: {_sql.first_line(error)}"
            raise WarehouseError(msg) from error
        raise


def _prepare(place: Place, connection: DuckDBPyConnection, market: str, market_id: str) -> str:
    """Bring schema, views, the name of the market and the id up to date, or refuse; return the id."""
    with _transaction(connection) as outcome:
        if _schema.migrate(connection):
            outcome.append("migrated")
        identity, new = _identity.settle(place, connection)
        if new:
            outcome.append("identified")
        known = _schema.settings(connection)
        mine = {"market": market, "market_id": market_id}
        if "market" not in known:
            for key, value in mine.items():
                _schema.put_setting(connection, key, value)
            outcome.append("named")
        elif _unnamed(known, market) and market_id:
            _schema.put_setting(connection, "market_id", market_id)
            outcome.append("named")
        elif {key: known.get(key) for key in mine} != mine:
            theirs = f"{known['market']} {known.get('market_id', '')}".strip()
            asked = f"{market} {market_id}".strip()
            msg = (
                f"the warehouse {place.folder} holds the market {theirs}, not {asked}; one warehouse holds one market: "
                f"set BLOFIN_WAREHOUSE to another folder, or BLOFIN_MARKET and BLOFIN_SEED as they were"
            )
            raise WarehouseError(msg)
        if _schema.renew_views(connection):
            outcome.append("views")
    return identity


def _unnamed(known: Mapping[str, str], market: str) -> bool:
    """Tell a warehouse that imported ticks began in an older version: its market is real and has no id yet.

    A synthetic market is never without one: its seed is what its bars are made of.
    """
    return known["market"] == market and not known.get("market_id") and not market.startswith("sample")


def _refuse_other_lake(place: Place, connection: DuckDBPyConnection) -> None:
    if not _schema.is_ours(connection):
        msg = f"{place.file or 'the catalog'} is a DuckLake of something else; set BLOFIN_WAREHOUSE to another folder"
        raise WarehouseError(msg)


def _summary(writes: Transaction) -> str:
    return ", ".join(f"{change.table} +{change.added} -{change.removed}" for change in writes.changes)


def _instance_id(home: Path) -> str:
    """Return the id of a Dagster instance; the first call makes it."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        # exclusive creation: of two processes at once, one makes the id
        with suppress(FileExistsError), (home / _INSTANCE_FILE).open("x", encoding="utf-8") as file:
            file.write(uuid.uuid4().hex)
    except OSError as error:
        msg = f"the Dagster folder {home} cannot be written ({error.strerror}); set DAGSTER_HOME to one that can"
        raise WarehouseError(msg) from None
    return _read_id(home) or ""


def _read_id(home: Path) -> str | None:
    try:
        return (home / _INSTANCE_FILE).read_text(encoding="utf-8")
    except OSError:
        return None
