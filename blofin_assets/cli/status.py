"""`blofin status`: a table that fits 80 columns, or JSON; the exit code shows whether something needs attention.

Belongs here: opening read-only, printing. Does not belong here: the items (`health`).
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import dagster as dg
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError  # errors of Dagster's storage

from blofin_assets.cli.documents import print_json
from blofin_assets.health import Item, collect_health
from blofin_resources.settings import Settings
from blofin_resources.texts import for_terminal
from blofin_resources.warehouse import Warehouse

NEEDS_A_LOOK: Final = 3
"""Exit code if something needs attention; 0 if all is well, 1 if the status is unavailable."""

WIDTH: Final = 80


def show_status(*, as_json: bool) -> None:
    """Print the health of the platform; exit with `NEEDS_A_LOOK` if an item is not well."""
    settings = Settings()
    now = datetime.now(UTC)
    with (
        _without_pandas(),
        Warehouse.open_readonly(settings.warehouse, catalog=settings.catalog, few_rows=True) as store,
    ):
        home = store.folder / ".dagster"
        os.environ["DAGSTER_HOME"] = str(home)
        items = _looked(store, home, settings, now)
    ok = all(item.ok for item in items)
    if as_json:
        shown = [{"name": i.name, "well": i.ok, "detail": i.detail, "values": i.values} for i in items]
        print_json({"at": now.isoformat(timespec="seconds"), "well": ok, "items": shown})
    else:
        Console(width=WIDTH).print(_table(items, settings, now))
    if not ok:
        raise typer.Exit(NEEDS_A_LOOK)


@contextmanager
def _without_pandas() -> Iterator[None]:
    """Hide pandas: given its first parameter, DuckDB imports it only to ask whether the value is one of its own.

    None is here, and the import would take a tenth of the time of a status.
    """
    if "pandas" in sys.modules:
        yield
        return
    sys.modules["pandas"] = None  # type: ignore[assignment] # what Python documents for a module not to be imported
    try:
        yield
    finally:
        del sys.modules["pandas"]


def _looked(store: Warehouse, home: Path, settings: Settings, now: datetime) -> list[Item]:
    """Return every item, even if Dagster's storage cannot be read: Dagster writes to it even for reading."""
    if not home.is_dir():
        return collect_health(store, None, settings, now)
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            return collect_health(store, instance, settings, now)
    except (SQLAlchemyError, OSError) as error:
        reason = getattr(error, "orig", None) or getattr(error, "strerror", None) or error
        return collect_health(store, None, settings, now, f"{reason}; this user needs write permission on {home}")


def _table(items: list[Item], settings: Settings, now: datetime) -> Table:
    table = Table(
        title=f"{settings.market} market, {now:%Y-%m-%d %H:%M} UTC", box=box.SIMPLE_HEAD, show_header=False, width=WIDTH
    )
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for item in items:
        table.add_row("ok" if item.ok else "[bold red]!![/]", item.name, Text(for_terminal(item.detail)))
    return table
