"""Statements that end before they are done: at a signal, or after a time.

Belongs here: stopping what a cursor computes, and what is raised then. Does not belong here: what a program does after
it (the commands end, a run counts as interrupted).
"""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import duckdb
from duckdb import DuckDBPyConnection

from blofin_resources.errors import WarehouseError

_INTERRUPTED: Final = "Query interrupted"
"""Text of the RuntimeError that DuckDB raises in place of what a signal's handler raised."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt where a signal ended a statement: a RuntimeError would count as one item's failure."""
    try:
        yield
    except RuntimeError as error:
        if str(error) == _INTERRUPTED:
            raise KeyboardInterrupt from error
        raise


@contextmanager
def stopped_after(cursor: DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    """Stop what a cursor computes after some seconds; no limit where None.

    Raises
    ------
    WarehouseError
        If it was stopped.
    """
    if seconds is None:
        yield
        return
    late = threading.Event()

    def stop() -> None:
        late.set()
        cursor.interrupt()

    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        yield
    except (duckdb.Error, RuntimeError):
        if not late.is_set():
            raise
        msg = f"the query ran longer than {seconds:g} s and was stopped; let it read or join less"
        raise WarehouseError(msg) from None
    finally:
        timer.cancel()
        timer.join()  # or it would stop the next query


@contextmanager
def stopped_by_signals(cursor: DuckDBPyConnection) -> Iterator[None]:
    """Stop what a cursor computes at Ctrl-C or SIGTERM, also while DuckDB waits for its own threads.

    In the main thread alone, where signals are handled: there DuckDB looks for them between pieces of work of its own,
    and has none where another thread took all.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ears, mouth = socket.socketpair()
    mouth.setblocking(False)

    def listen() -> None:
        while heard := ears.recv(1):
            if heard[0] in {signal.SIGINT, signal.SIGTERM}:
                cursor.interrupt()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        mouth.close()
        listener.join()  # or it would stop the next query
        ears.close()
