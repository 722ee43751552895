"""New warehouses for tests: copies of one that the program itself makes once in a test process.

Making one applies every schema file, which takes three times as long as opening it.
"""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from blofin_resources.warehouse import Warehouse


def new_warehouse(folder: Path, *, market: str = "sample", market_id: str = "seed=7") -> Warehouse:
    """Return a new warehouse, open."""
    put_warehouse(folder, market=market, market_id=market_id)
    return Warehouse.open(folder, market=market, market_id=market_id)


def put_warehouse(folder: Path, *, market: str, market_id: str) -> None:
    """Put a new warehouse into a folder, unless there is one."""
    if not (folder / "catalog.sqlite").exists():
        shutil.copytree(_made(market, market_id), folder, dirs_exist_ok=True)


def kept_folder() -> Path:
    """Return a new folder that lasts as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="blofin-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _made(market: str, market_id: str) -> Path:
    folder = kept_folder()
    Warehouse.open(folder, market=market, market_id=market_id).close()
    return folder
