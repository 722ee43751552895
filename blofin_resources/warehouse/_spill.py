"""Where DuckDB writes what outgrows memory: a private folder for each process.

Belongs here: making that folder, and removing it, also after a process that was killed. Does not belong here: when
DuckDB writes to it.

A folder of a fixed name in the shared temporary folder would belong to whoever made it first, and DuckDB's files in it
have the same names in every process.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
import time
import uuid
from functools import cache
from pathlib import Path
from typing import Final

_PREFIX: Final = "blofin-spill-"

_YOUNG_SECONDS: Final = 60.0
"""A folder is made before it is locked: one so young is left alone."""


def new_folder() -> Path:
    """Return the path of a folder that only this connection of this process uses; DuckDB makes it when it needs it."""
    return _of_process(os.getpid()) / uuid.uuid4().hex


@cache
def _of_process(pid: int) -> Path:
    """Return the folder of this process, which nobody else may enter; it is removed when the process ends."""
    remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    _lock(folder)  # for life: the system frees it with the process, however that ends

    def remove() -> None:
        if os.getpid() == pid:  # a forked child ends without removing what its parent uses
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def remove_abandoned() -> None:
    """Remove the folders of this user whose process was killed or replaced itself by another program."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            seen = folder.lstat()
            if seen.st_uid != os.getuid() or time.time() - seen.st_mtime < _YOUNG_SECONDS:
                continue
            handle = _lock(folder)
        except OSError:  # in use, or gone meanwhile
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _lock(folder: Path) -> int:
    """Lock a folder and return the handle that holds the lock.

    Raises
    ------
    OSError
        If another process holds it, or this is no folder.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
