"""Dagster's SQLite files, without two waits for the disk at each event.

Belongs here: how SQLite keeps what Dagster tells it. Does not belong here: what Dagster tells it, the warehouse's own
catalog (`blofin_resources.warehouse`), whose commits wait for the disk.

A pass has thousands of events. Dagster opens a connection for each, commits, and closes it; SQLite then waits for the
disk at the commit, and moves its whole log into the file because nobody else has it open. So this process keeps a
connection of its own to each file, and commits wait for no disk: a crash of the machine may lose the last events, never
the file, and nothing that the warehouse knows. A crash of the process loses nothing.
"""

import sqlite3
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Engine

MOST: Final = 16
"""Files kept open, the newest; a run has one of its own."""

_held: OrderedDict[str, sqlite3.Connection] = OrderedDict()
_lock: Final = threading.Lock()


def ease_dagster_files() -> None:
    """Do so from now on in this process."""
    if not event.contains(Engine, "connect", _ease):
        event.listen(Engine, "connect", _ease)


def _ease(connection: object, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = NORMAL")
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        path = str(connection.execute("PRAGMA database_list").fetchone()[2])
        if mode == "wal" and path:
            _hold(path)


def _hold(path: str) -> None:
    """Keep a connection to a file that has a log."""
    with _lock:
        if path not in _held:
            with suppress(sqlite3.OperationalError):  # one that cannot be read is Dagster's to complain of
                kept = sqlite3.connect(path, check_same_thread=False)
                kept.execute("SELECT count(*) FROM sqlite_master").fetchone()  # until then it is not open
                _held[path] = kept
        if path in _held:
            _held.move_to_end(path)
        while len(_held) > MOST:
            _held.popitem(last=False)[1].close()
