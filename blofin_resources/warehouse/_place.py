"""Where a warehouse lies on disk, how it is attached, and the lock that its writers share.

Belongs here: paths, DuckDB's extensions, ATTACH, the file lock. Does not belong here: tables, transactions.

No file of the catalog may be opened other than by DuckDB: a process that closes any handle of an SQLite file loses
the locks that SQLite holds on it.
"""

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import duckdb
from duckdb import DuckDBPyConnection
from filelock import FileLock, Timeout

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import _postgres, _spill, _sql

ALIAS: Final = "lake"
"""Name under which the warehouse is attached."""

MARK: Final = "warehouse_id"
"""File among the data that carries the warehouse's id."""

LOCK_SECONDS: Final = 300.0
"""How long a writer waits for its turn; a commit takes some 20 ms, the merging of files may take seconds."""

_BUSY_MILLISECONDS: Final = 60_000


@dataclass(frozen=True)
class Place:
    """One warehouse: its folder and its catalog.

    Attributes
    ----------
    folder : Path
        Absolute folder; Parquet files lie in its `data`.
    uri : str
        Catalog as DuckLake names it, such as `sqlite:/data/warehouse/catalog.sqlite`; it holds no password.
    file : Path or None
        The catalog's file; None where the catalog is a server.
    password : str or None
        That of the server, where the settings name one.
    """

    folder: Path
    uri: str
    file: Path | None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, folder: Path, catalog: str | None) -> Self:
        """Return the place of a folder, with the SQLite catalog inside it unless another one is named.

        Raises
        ------
        WarehouseError
            If the catalog is a server's address that cannot be read.
        """
        root = Path(folder).expanduser().absolute()
        if catalog is not None and catalog.strip().lower().startswith(_postgres.SCHEMES):
            server = _postgres.read(catalog.strip())
            return cls(root, f"postgres:{server.text}", None, server.password)
        _postgres.refuse_other_server(catalog or "")
        path = (catalog or "").removeprefix("sqlite:")
        file = Path(path).expanduser().absolute() if path else root / "catalog.sqlite"
        return cls(root, f"sqlite:{file}", file)

    @property
    def data(self) -> Path:
        """Folder of the Parquet files."""
        return self.folder / "data"

    @property
    def mark(self) -> Path:
        """File that carries the id of the warehouse."""
        return self.data / MARK

    def make(self) -> None:
        """Create the folders, or say why they cannot be."""
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            if self.file is not None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            # a folder that exists may still refuse files, and data files come only with the first large write
            with tempfile.TemporaryFile(dir=self.data):
                pass
        except OSError as error:
            raise WarehouseError(self._unwritable(error)) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the one lock of this warehouse's writers; the operating system releases it when a process dies."""
        beside = self.file or self.folder / "catalog"
        # a soft lock would outlive a killed process
        lock = FileLock(f"{beside}.lock", fallback_to_soft=False, preserve_lock_file=True)
        try:
            lock.acquire(timeout=LOCK_SECONDS, poll_interval=0.01)
        except Timeout:
            msg = f"{lock.lock_file} was held by another process for {LOCK_SECONDS:.0f} s; end that process or wait"
            raise WarehouseError(msg) from None
        except (OSError, NotImplementedError) as error:
            raise WarehouseError(self._unwritable(error)) from None
        try:
            yield
        finally:
            lock.release()

    def attach(
        self, connection: DuckDBPyConnection, alias: str, *, read_only: bool = False, snapshot: int | None = None
    ) -> None:
        """Attach the catalog, as it is now or as of a snapshot; the caller holds the lock.

        Parameters
        ----------
        connection : DuckDBPyConnection
            Where it is attached.
        alias : str
            Name under which it is attached.
        read_only : bool, optional
            Whether writes are refused.
        snapshot : int, optional
            Snapshot to attach; the current state where omitted.
        """
        options = [f"DATA_PATH {_sql.text(f'{self.data}/')}", "OVERRIDE_DATA_PATH true"]
        if self.file is not None:
            options.append(f"META_BUSY_TIMEOUT {_BUSY_MILLISECONDS}")
        if read_only or snapshot is not None:
            options.append("READ_ONLY")
        elif self.file is not None:
            options.append("META_JOURNAL_MODE 'WAL'")
        if self.password is not None:
            options.append(f"META_SECRET {_sql.text(self._secret)}")
        if snapshot is not None:
            options.append(f"SNAPSHOT_VERSION {snapshot:d}")
        connection.execute(f"ATTACH {_sql.text('ducklake:' + self.uri)} AS {alias} ({', '.join(options)})")

    def keep_password(self, connection: DuckDBPyConnection) -> None:
        """Give DuckDB the password as a secret, which it never shows; its errors would quote a connection string."""
        if self.password is not None:
            connection.execute(
                f"CREATE OR REPLACE TEMPORARY SECRET {_sql.column(self._secret)} "
                f"(TYPE postgres, PASSWORD {_sql.text(self.password)})"
            )

    @property
    def _secret(self) -> str:
        # a connection may copy from another place with a password of its own
        return f"catalog_{hashlib.sha256(self.uri.encode()).hexdigest()[:16]}"

    def refuse_foreign(self, connection: DuckDBPyConnection) -> None:
        """Refuse a catalog file that holds something else, before DuckLake writes its tables into it."""
        if self.file is None:
            return
        if not self.file.exists() or self.file.stat().st_size == 0:
            self._refuse_lost_catalog()
            return
        try:
            connection.execute(f"ATTACH {_sql.text(self.file)} AS probe (TYPE sqlite, READ_ONLY)")
            found = connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = 'probe'"
            ).fetchall()
            connection.execute("DETACH probe")
        except duckdb.Error as error:
            if "readonly database" in str(error) or not os.access(self.file.parent, os.W_OK):
                msg = (
                    f"{self.file} cannot be read: SQLite then keeps a file beside it, and this user may not "
                    f"write {self.file.parent}; give the right to write there, or read a copy of the folder"
                )
                raise WarehouseError(msg) from None
            if "disk I/O error" in str(error):
                msg = f"{self.file} cannot be read: its disk is full or broken; free some space and try again"
                raise WarehouseError(msg) from None
            msg = f"{self.file} is not a warehouse catalog ({_sql.first_line(error)}); {_ELSEWHERE}"
            raise WarehouseError(msg) from None
        if found and ("ducklake_metadata",) not in found:
            msg = f"{self.file} is an SQLite file of another program; {_ELSEWHERE}"
            raise WarehouseError(msg)

    def _refuse_lost_catalog(self) -> None:
        if self.mark.exists() or next(self.data.rglob("*.parquet"), None) is not None:
            msg = f"{self.data} holds data but {self.file} is missing; restore that file, or {_ELSEWHERE}"
            raise WarehouseError(msg)

    def _unwritable(self, error: Exception) -> str:
        reason = getattr(error, "strerror", None) or str(error)
        return f"the warehouse folder {self.folder} cannot be written ({reason}); set BLOFIN_WAREHOUSE to one that can"


_ELSEWHERE: Final = "set BLOFIN_WAREHOUSE to another folder"

_MANY_ROWS: Final = 20_000
"""From so many on, writing them takes longer than what several threads cost."""

_PACKAGES: Final = {
    "ducklake": "duckdb_extension_ducklake",
    "sqlite_scanner": "duckdb_extension_sqlite_scanner",
    "postgres_scanner": "duckdb_extension_postgres_scanner",
}


_checked: Final[set[tuple[object, ...]]] = set()
"""The extension files whose signatures DuckDB has checked in this process, which takes it 0.1 s each."""


def connect(place: Place) -> DuckDBPyConnection:
    """Return a new DuckDB connection in UTC, on one thread, with the extensions that the place's catalog needs."""
    files = {_stamp(_binary(extension)) for extension in _extensions(place)}
    checked = files <= _checked
    connection = duckdb.connect(
        ":memory:",
        config={"autoinstall_known_extensions": False, "allow_unsigned_extensions": checked, "threads": 1},
    )
    load_for(connection, place)
    connection.execute("SET GLOBAL allow_unsigned_extensions = false")
    _checked.update(files)
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute(f"SET GLOBAL temp_directory = {_sql.text(_spill.new_folder())}")
    # a misspelt table is an error, not a variable of this program
    connection.execute("SET GLOBAL python_enable_replacements = false")
    return connection


def every_thread(connection: DuckDBPyConnection) -> None:
    """Run statements on every core; on one thread nearly all of ours take half as long, since they ask for few rows."""
    connection.execute("RESET GLOBAL threads")


@contextmanager
def all_cores(cursor: DuckDBPyConnection, rows: int) -> Iterator[None]:
    """Let statements of the block use every core where they move many rows; such statements are not to be nested."""
    if rows < _MANY_ROWS:
        yield
        return
    every_thread(cursor)
    try:
        yield
    finally:
        cursor.execute("SET GLOBAL threads = 1")


def load_for(connection: DuckDBPyConnection, place: Place) -> None:
    """Load the extensions that a place's catalog needs, and the password where it has one."""
    for extension in _extensions(place):
        _load(connection, extension)
    place.keep_password(connection)


def _extensions(place: Place) -> tuple[str, str]:
    return "ducklake", "sqlite_scanner" if place.file is not None else "postgres_scanner"


def _binary(extension: str) -> Path | None:
    """Return an extension's file in the installed package; None where the package is absent."""
    found = importlib.util.find_spec(_PACKAGES[extension])
    for root in (found.submodule_search_locations or []) if found is not None else []:
        binary = Path(root) / "extensions" / f"v{duckdb.__version__}" / f"{extension}.duckdb_extension"
        if binary.exists():
            return binary
    return None


def _stamp(binary: Path | None) -> tuple[object, ...]:
    """Return what tells this state of a file from any other; another at each call for none."""
    if binary is None:
        return (object(),)
    seen = binary.stat()
    return binary, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _load(connection: DuckDBPyConnection, extension: str) -> None:
    """Load an extension from the installed package's folder; fetch it from DuckDB only where the package is absent."""
    binary = _binary(extension)
    if binary is not None:
        connection.execute(f"LOAD {_sql.text(binary)}")
        return
    try:
        connection.execute(f"INSTALL {extension}; LOAD {extension}")
    except duckdb.Error as error:
        package = f"{_PACKAGES[extension].replace('_', '-')}=={duckdb.__version__}"
        msg = f"DuckDB's extension {extension} is missing ({_sql.first_line(error)}); run: pip install {package}"
        raise WarehouseError(msg) from None
