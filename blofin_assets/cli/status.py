"""`blofin status`: a table that fits 80 columns, or JSON; the exit code says whether a person should look.

Belongs here: opening without changing anything, printing. Does not belong here: what is looked at (`status`).
"""

import json
import os
from datetime import UTC, datetime
from typing import Final

import dagster as dg
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from blofin_assets.status import Item, look
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

NEEDS_A_LOOK: Final = 3
"""Exit code where something needs a person; 0 where all is well, 1 where the status cannot be told."""

WIDTH: Final = 80


def show_status(*, as_json: bool) -> None:
    """Print how the platform is; exit with `NEEDS_A_LOOK` where an item is not well."""
    settings = Settings()
    now = datetime.now(UTC)
    with Warehouse.open_readonly(settings.warehouse, catalog=settings.catalog) as store:
        home = store.folder / ".dagster"
        os.environ["DAGSTER_HOME"] = str(home)
        if home.is_dir():
            with dg.DagsterInstance.from_config(str(home)) as instance:
                items = look(store, instance, settings, now)
        else:
            items = look(store, None, settings, now)
    well = all(item.well for item in items)
    if as_json:
        shown = [{"name": i.name, "well": i.well, "detail": i.detail, "values": i.values} for i in items]
        typer.echo(json.dumps({"at": now.isoformat(timespec="seconds"), "well": well, "items": shown}, indent=2))
    else:
        Console(width=WIDTH).print(_table(items, settings, now))
    if not well:
        raise typer.Exit(NEEDS_A_LOOK)


def _table(items: list[Item], settings: Settings, now: datetime) -> Table:
    table = Table(
        title=f"{settings.market} market, {now:%Y-%m-%d %H:%M} UTC", box=box.SIMPLE_HEAD, show_header=False, width=WIDTH
    )
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for item in items:
        table.add_row("ok" if item.well else "[bold red]!![/]", item.name, item.detail)
    return table
