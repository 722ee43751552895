"""Processes of this machine: identity, liveness, and locks between them.

Belongs here: a process identity that survives reuse of process ids, exclusive locks. Does not belong here: Dagster
runs (`blofin_assets.scheduling.instance`), the warehouse's commit lock (`blofin_resources.warehouse`).
"""

import fcntl
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
from filelock import FileLock, Timeout

from blofin_resources.errors import BlofinError

PID: Final = "blofin/pid"
PROCESS_START: Final = "blofin/process_start"
HOST: Final = "blofin/host"


def process_identity(pid: int | None = None) -> dict[str, str]:
    """Return an identity of a process (default: this one) that no later process can have."""
    process = psutil.Process(pid)
    return {PID: str(process.pid), PROCESS_START: f"{process.create_time():.2f}", HOST: socket.gethostname()}


def is_gone(identity: Mapping[str, str]) -> bool:
    """Return whether the process of an identity has ended.

    A process on another host, or an identity without a process id, counts as alive because its state is unknown here.
    """
    if identity.get(HOST) != socket.gethostname() or PID not in identity:
        return False
    try:
        process = psutil.Process(int(identity[PID]))
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return f"{process.create_time():.2f}" != identity.get(PROCESS_START)
    except psutil.NoSuchProcess:
        return True


@contextmanager
def exclusive(folder: Path, name: str, *, wait_seconds: float) -> Iterator[None]:
    """Hold the lock `name` among all processes that use `folder`; the system releases it when a process dies.

    Parameters
    ----------
    folder : Path
        Folder whose subfolder `.locks` holds the lock file.
    name : str
        Name of the lock.
    wait_seconds : float
        How long to wait for another holder.

    Yields
    ------
    None
        The lock is held inside the block.

    Raises
    ------
    BlofinError
        If another process holds it for longer than `wait_seconds`.
    """
    path = _lock_file(folder, name)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout:
        raise BlofinError(_held(name, path)) from None
    try:
        yield
    finally:
        lock.release()


def exclusive_for_life(folder: Path, name: str) -> int:
    """Hold the lock `name` for the life of this process, including a program that replaces it by `exec`.

    Returns
    -------
    int
        File descriptor that holds the lock; a child that inherits it holds the lock too.

    Raises
    ------
    BlofinError
        If another process holds it.
    """
    path = _lock_file(folder, name)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as FileLock does it, so that the two exclude each other
    except BlockingIOError:
        os.close(handle)
        raise BlofinError(_held(name, path)) from None
    os.set_inheritable(handle, True)
    return handle


def _lock_file(folder: Path, name: str) -> Path:
    locks = folder / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    return locks / (re.sub(r"[^A-Za-z0-9._-]+", "_", name) + ".lock")


def _held(name: str, path: Path) -> str:
    return f"{name} is running in another process (lock {path}); wait for it to end or stop that process"
