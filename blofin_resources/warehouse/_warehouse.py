"""The `Warehouse`: one connection to the lakehouse, safe to share between threads and beside other processes.

Belongs here: opening and closing, when the lock is held, transactions, snapshots. Does not belong here: the SQL of
reads (`_reads`), of writes (`_transaction`) or of the schema (`_schema`).
"""

import logging
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
from blofin_resources.market.registry import is_synthetic
from blofin_resources.warehouse import _copy, _identity, _interruption, _queries, _reads, _schema, _sql, _upkeep
from blofin_resources.warehouse._place import ALIAS, Place, connect, every_thread, load_for
from blofin_resources.warehouse._tables import Columns, Tables
from blofin_resources.warehouse._transaction import Transaction
from features.bars import Timeframe

_LOG = logging.getLogger(__name__)

_INSTANCE_FILE: Final = "warehouse_instance_id"

_UNHELD: Final = re.compile(r"\b(INTERVAL|UNION)\b")
"""Types of DuckDB, also within others, that polars has not."""

_QUOTED: Final = re.compile(r"""'[^']*'|\"[^\"]*\"""")
"""Names and values within a type, such as those of an enum."""


RENEW_AFTER: Final = 2_000
"""Reads and commits after which a new connection takes over: DuckDB keeps some 0.1 MB for each commit and file that a
connection has seen, and gives it back only when that is closed. A new one takes some 0.2 s."""


class Warehouse:
    """The lakehouse in one folder, holding one market. Also a `features.bars.CandleSource`.

    Open one for each process (the first costs some 0.3 s) and share it: each thread gets its own cursor. Other
    processes may read and write at the same time. A process may live for months: its connection is renewed after
    `RENEW_AFTER` uses. All times are UTC.

    Attributes
    ----------
    folder : Path
        Absolute folder of the warehouse.
    """

    def __init__(self, place: Place, connection: DuckDBPyConnection, *, sealed: bool = False) -> None:
        self.folder = place.folder
        self._place = place
        self._connection = connection
        self._sealed = sealed
        self._renews = False
        self._uses = 0
        self._renewing = threading.Lock()
        self._local = threading.local()
        self._tables = Tables(self._find_columns, self._find_key)
        self._past: dict[int, _schema.Past] = {}

    @classmethod
    @_interruption.interruptible()
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

        Returns
        -------
        Warehouse
            Open for reading and writing; close it after use.

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
        opened = cls(place, connection)
        opened._renews = True  # one that is read-only or frozen lives for a command
        return opened

    @classmethod
    @_interruption.interruptible()
    def open_readonly(cls, folder: Path, *, catalog: str | None = None, few_rows: bool = False) -> Self:
        """Open an existing warehouse of any market, read-only, for ad-hoc queries.

        Each `read` then takes one query, which reaches no other file, setting or server.

        Parameters
        ----------
        folder, catalog
            As of `open`.
        few_rows : bool
            Whether it will be asked for few rows alone: they take half as long on one thread.

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
            if not few_rows:
                every_thread(connection)
            _queries.seal(connection, place)
        return cls(place, connection, sealed=True)

    def close(self) -> None:
        """Close the connection and all its cursors."""
        self._renews = False
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- reading -----------------------------------------------------------------------------------------------

    def cursor(self) -> DuckDBPyConnection:
        """Return a new DuckDB cursor for reads; the caller closes it.

        Writes go through `transaction`: writing through a cursor bypasses the lock and the checks.

        Raises
        ------
        WarehouseError
            If the connection is closed or lost.
        """
        cursor = self._connection.cursor()
        try:
            cursor.execute(f"USE {ALIAS}")
        except duckdb.Error as error:
            cursor.close()
            msg = f"the warehouse {self.folder} is no longer reachable: {_sql.first_line(error)}"
            raise WarehouseError(msg) from error
        return cursor

    @_interruption.interruptible()
    def read(
        self,
        sql: str,
        params: Sequence[object] | Mapping[str, object] | None = None,
        *,
        most: int | None = None,
        seconds: float | None = None,
    ) -> pl.DataFrame:
        """Return the rows of a query.

        Parameters
        ----------
        sql : str
            One query; tables as `schema.table`.
        params : sequence or dict, optional
            Values for `?`, or for `$name`.
        most : int, optional
            The first rows alone, so many; further ones are never held in memory.
        seconds : float, optional
            The query is stopped after so long.

        Returns
        -------
        DataFrame
            Times as `Datetime("us", "UTC")`, SQL null as null; without columns where nothing but a comment was asked.

        Raises
        ------
        WarehouseError
            If DuckDB refuses the query, with its reason, it is stopped, or a frame cannot hold the type of a column.
        """
        try:
            self._used()
            cursor = self._own_cursor()
            if self._sealed:
                _queries.require_query(cursor, sql)
            # an arrow result keeps the zone of times; params may not be None for a statement without marks
            with _interruption.stopped_by_signals(cursor), _interruption.stopped_after(cursor, seconds):
                return _frame(cursor.execute(sql, params or []), most)
        except duckdb.Error as error:
            msg = f"the warehouse cannot answer this query: {_sql.first_line(error)}"
            raise WarehouseError(msg) from error

    @_interruption.interruptible()
    def read_at(
        self, snapshot: int, sql: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> pl.DataFrame:
        """Return the rows of a query on the warehouse as of a snapshot.

        Parameters
        ----------
        snapshot : int
            Number of the snapshot.
        sql, params
            As in `read`.

        Returns
        -------
        DataFrame
            As `read`.

        Raises
        ------
        WarehouseError
            If the snapshot does not exist or has expired, or DuckDB refuses the query.
        """
        alias = f"at_{uuid.uuid4().hex}"
        cursor = self._connection.cursor()
        try:
            if self._sealed:
                _queries.require_query(cursor, sql)
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

    def rows_at(self, snapshot: int, table: str, runs: Collection[str] | None = None) -> pl.DataFrame | None:
        """Return the rows of a table as of a snapshot: the columns that it had then, with names and values of today.

        Parameters
        ----------
        snapshot : int
            Number of the snapshot.
        table : str
            `schema.table`, by its name of today.
        runs : collection of str, optional
            Only rows that these runs wrote.

        Returns
        -------
        DataFrame or None
            None if the snapshot is older than the table.

        Raises
        ------
        WarehouseError
            If the snapshot does not exist or has expired.
        """
        if snapshot not in self._past:
            self._past[snapshot] = _schema.past(lambda query: self.read_at(snapshot, query).rows())
        sql = _schema.all_rows(self._past[snapshot], table)
        if sql is None or runs is None:
            return None if sql is None else self.read_at(snapshot, sql)
        return self.read_at(snapshot, f"{sql} WHERE run_id IN (SELECT unnest(?))", [sorted(runs)])

    @_interruption.interruptible()
    def frozen(self, snapshot: int | None = None) -> Self:
        """Return this warehouse as of a snapshot (default: the current one), read-only; the caller closes it.

        Several reads then see one state, named by `snapshot_id`.

        Raises
        ------
        WarehouseError
            If the snapshot does not exist or has expired.
        """
        number = self.snapshot_id() if snapshot is None else snapshot
        connection = connect(self._place)
        try:
            self._place.attach(connection, ALIAS, snapshot=number)
            connection.execute(f"USE {ALIAS}")
            if self._sealed:
                _queries.seal(connection, self._place)
        except duckdb.Error as error:
            connection.close()
            msg = f"the warehouse as of snapshot {number} cannot be opened: {_sql.first_line(error)}"
            raise WarehouseError(msg) from error
        return type(self)(self._place, connection, sealed=self._sealed)

    def snapshot_id(self) -> int:
        """Return the number of the current snapshot."""
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

    def positioning(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `features.bars.PositioningSource.positioning`."""
        return _reads.positioning(self.read, symbols, start, end)

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
        """Return the days in `start_day <= day < end_day` that are not complete for every symbol.

        A day is complete when it is stored through its end, or through `as_of` if that is earlier.

        Parameters
        ----------
        datasets : sequence of str
            Tables without their schema, such as `candles_1m`.
        symbols : sequence of str
            Symbols that must all be stored.
        start_day, end_day : date
            Range of UTC days.
        as_of : datetime, optional
            Nothing after it is required.

        Returns
        -------
        dict of str to list of date
            Incomplete days by dataset, in order.
        """
        return _reads.missing_days(self.read, datasets, symbols, start_day, end_day, as_of=as_of)

    def integrity(self) -> list[str]:
        """Return a line for each table that holds duplicate keys; an empty list if there are none."""
        return _reads.broken_keys(self.read)

    # --- writing -----------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, run_id: str) -> Iterator[Transaction]:
        """Collect writes, and commit them together at the end of the block.

        The lock is taken at the end, so computing inside the block does not block other writers. An exception in the
        block, or in any write, leaves the warehouse unchanged.

        Parameters
        ----------
        run_id : str
            Dagster run that writes; stored in every row and with the snapshot.

        Yields
        ------
        Transaction
            Takes the writes.

        Raises
        ------
        WarehouseError
            If `run_id` is empty, or the database refuses the writes.
        """
        if not run_id.strip() or run_id == "none":
            msg = f"{run_id!r} is not a run id; every write records its Dagster run"
            raise WarehouseError(msg)
        self._used()
        # not `USE`d: each statement on a cursor in the lake first asks the catalog for the newest snapshot
        cursor = self._connection.cursor()
        try:
            writes = Transaction(cursor, run_id, self._tables)
            yield writes
            with self._locked():
                writes.settle()
                with _transaction(cursor) as outcome:
                    if writes.apply():
                        cursor.execute(f"CALL {ALIAS}.set_commit_message(?, ?)", [run_id, _summary(writes)])
                        outcome.append("changed")
                writes.snapshot = self.snapshot_id()
        finally:
            cursor.close()

    @_interruption.interruptible()
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

    @_interruption.interruptible()
    def maintain(
        self,
        *,
        now: datetime,
        keep_snapshots: timedelta = timedelta(days=2),
        keep_named: timedelta | None = None,
        keep_files: timedelta = _upkeep.SAFE_AGE,
    ) -> _upkeep.Upkeep:
        """Merge small files, expire unreferenced snapshots, and delete files that nothing refers to.

        May run beside readers and writers; a writer waits for one call at most.

        Parameters
        ----------
        now : datetime
            Wall-clock time (UTC), which snapshots and files carry.
        keep_snapshots : timedelta
            Snapshots that were current within this time are kept, whether or not a row refers to them.
        keep_named : timedelta, optional
            For how long a snapshot is kept because a row refers to it; for ever where None.
        keep_files : timedelta
            How long an unused file is kept; at least 24 hours.

        Returns
        -------
        Upkeep
            Counts of what was done.

        Raises
        ------
        WarehouseError
            If `keep_files` is too short, the folder no longer belongs to the catalog, or the database refuses.
        """
        try:
            _identity.require_same(self._place, self._own_cursor())
        except duckdb.Error as error:
            msg = f"the warehouse refused its maintenance: {_sql.first_line(error)}"
            raise WarehouseError(msg) from error
        cursor = self._connection.cursor()
        try:
            return _upkeep.maintain(
                cursor,
                self._place.locked,
                now=now,
                keep_snapshots=keep_snapshots,
                keep_named=keep_named,
                keep_files=keep_files,
            )
        finally:
            cursor.close()

    @_interruption.interruptible()
    def copy_from(
        self,
        other: "Warehouse",
        snapshot: int,
        schemas: Sequence[str],
        *,
        without_runs: Collection[str] = (),
        whole: Collection[str] = (),
    ) -> None:
        """Replace the tables of some schemas by those of another warehouse at a snapshot, run ids included.

        For scratch warehouses: the previous contents are lost.

        Parameters
        ----------
        other : Warehouse
            The source; it is only read.
        snapshot : int
            Snapshot of the source.
        schemas : sequence of str
            Schemas to copy, such as `market`.
        without_runs : collection of str
            Rows written by these runs are left out.
        whole : collection of str
            Tables that are copied including the rows of those runs.

        Raises
        ------
        WarehouseError
            If the snapshot does not exist or has expired, or the database refuses.
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

    @_interruption.interruptible()
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

    @_interruption.interruptible()
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
        """Return this thread's cursor of the current connection."""
        connection = self._connection
        if getattr(self._local, "of", None) is not connection:
            if hasattr(self._local, "cursor"):
                self._local.cursor.close()
            self._local.cursor, self._local.of = self.cursor(), connection
        cursor: DuckDBPyConnection = self._local.cursor
        return cursor

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the writers."""
        with self._place.locked():
            self._local.locked = True
            try:
                yield
            finally:
                self._local.locked = False

    def _used(self) -> None:
        """Count a use, and put a new connection in the place of one that was used often.

        The old one ends with the last cursor of it: those of other threads stay valid until their next read.
        """
        self._uses += 1
        if not self._renews or self._uses < RENEW_AFTER:
            return
        # the lock of the writers is not to be waited for by the thread that holds it
        if getattr(self._local, "locked", False) or not self._renewing.acquire(blocking=False):
            return
        try:
            fresh = connect(self._place)
            with self._place.locked():
                self._place.attach(fresh, ALIAS)
            fresh.execute(f"USE {ALIAS}")
            self._connection = fresh
        except (duckdb.Error, WarehouseError) as error:
            _LOG.warning(
                "the connection to %s grows on, since none could be opened in its place: %s", self.folder, error
            )
        finally:
            self._uses = 0
            self._renewing.release()

    def _find_columns(self, table: str) -> Columns:
        return _schema.columns(self._own_cursor(), table)

    def _find_key(self, table: str) -> tuple[str, ...]:
        found = self.read("SELECT columns FROM meta.table_keys WHERE table_name = ?", [table])
        return tuple(found["columns"].item()) if found.height else ()


def _frame(result: DuckDBPyConnection | None, most: int | None = None) -> pl.DataFrame:
    """Return the rows of an executed statement; an empty frame without columns for a comment or an empty text."""
    if result is None:
        return pl.DataFrame()
    for name, kind, *_ in result.description or []:
        # looked for beforehand: polars refuses some of these and ends the program at others
        if _UNHELD.search(_QUOTED.sub("", str(kind))):
            msg = f"column {name} is of type {kind}, which a table cannot hold; cast it: ...::VARCHAR"
            raise WarehouseError(msg)
    return result.pl() if most is None else _first_rows(result, most)


def _first_rows(result: DuckDBPyConnection, most: int) -> pl.DataFrame:
    """Return the first rows of a result, which is computed only as far as they need."""
    reader = result.to_arrow_reader(most)
    parts = [pl.DataFrame(reader.schema.empty_table())]
    for batch in reader:
        parts.append(pl.DataFrame(batch))
        if sum(part.height for part in parts) >= most:
            break
    return pl.concat(parts).head(most)


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
    """Run the block between BEGIN and COMMIT; roll back on any exception, or if nothing was put on the list."""
    outcome: list[str] = []
    cursor.execute("BEGIN")
    try:
        with _interruption.interruptible():
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
                f"the warehouse {place.folder} holds the market {theirs}, not {asked}; a warehouse holds one market: "
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
    return known["market"] == market and not known.get("market_id") and not is_synthetic(market)


def _refuse_other_lake(place: Place, connection: DuckDBPyConnection) -> None:
    if not _schema.is_ours(connection):
        msg = f"{place.file or 'the catalog'} belongs to another program; set BLOFIN_WAREHOUSE to another folder"
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
