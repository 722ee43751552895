"""`blofin import-ticks`: the older system's file into a warehouse of a real market.

Belongs here: choosing the warehouse, the progress bar, the final table. Does not belong here: importing
(`blofin_resources.market.legacy.import_ticks`).

Nothing here needs Dagster: opening its instance would take longer than reading half a million ticks.
"""

from pathlib import Path
from typing import Final

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from blofin_assets.cli.documents import console, print_json
from blofin_resources.errors import BlofinError, WarehouseError
from blofin_resources.market import is_synthetic
from blofin_resources.market.legacy.import_ticks import import_ticks
from blofin_resources.market.legacy.ticks import TicksFile
from blofin_resources.processes import exclusive
from blofin_resources.settings import Settings
from blofin_resources.texts import for_terminal
from blofin_resources.warehouse import Warehouse

RUN_ID: Final = "blofin import-ticks"
"""`run_id` of imported rows, followed by the file name: this is no Dagster run."""

_TICKS_MARKET: Final = "blofin"
"""The market of the older system's ticks."""


def import_file(path: Path, *, as_json: bool = False) -> None:
    """Import a file with a progress bar, and print a summary."""
    settings = Settings()
    out, name = console(as_json=as_json), escape(for_terminal(path.name))
    with TicksFile(path) as file:  # refused before a warehouse is created
        market, market_id = _market(settings)
        folder = settings.warehouse.resolve()
        with (
            Warehouse.open(folder, market=market, market_id=market_id, catalog=settings.catalog) as store,
            exclusive(folder, "import-ticks", wait_seconds=0),
            Progress(
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TimeElapsedColumn(), console=out,
            ) as bars,
        ):  # fmt: skip
            task = bars.add_task(f"ticks of {name}", total=file.ticks())
            done = import_ticks(
                store,
                file,
                run_id=f"{RUN_ID} {path.name}",
                progress=lambda read, total: bars.update(task, completed=read, total=total),
            )
    if as_json:
        rows = [{"table": taken, "in_file": count, "new": done.added[taken]} for taken, count in done.found.items()]
        print_json({"file": path, "warehouse": settings.warehouse, "market": market, "tables": rows})
        return
    table = Table(title=f"{name} into {escape(str(settings.warehouse))} ({market} market)")
    for column in ("table", "in the file", "new"):
        table.add_column(column, justify="left" if column == "table" else "right")
    for taken, count in done.found.items():
        table.add_row(taken, f"{count:,}", f"{done.added[taken]:,}")
    out.print(table)
    if settings.market != market:
        out.print(f"to use this warehouse, set BLOFIN_MARKET={market}")


def _market(settings: Settings) -> tuple[str, str]:
    """Return market and id of the warehouse: its own if it exists, else the configured one, else that of the ticks.

    A new warehouse gets the id that the settings give to that market, because later commands require it.

    Raises
    ------
    BlofinError
        If the warehouse holds a synthetic market: real bars are not mixed with synthetic ones.
    """
    try:
        with Warehouse.open_readonly(settings.warehouse, catalog=settings.catalog) as store:
            stored = dict(store.read("SELECT key, value FROM meta.settings WHERE key LIKE 'market%'").iter_rows())
    except WarehouseError:  # missing or damaged: opening it for writing reports that
        named = settings.model_copy(update={"market": _TICKS_MARKET}) if is_synthetic(settings.market) else settings
        return named.market, named.market_id
    if is_synthetic(stored["market"]):
        msg = (
            f"the warehouse {settings.warehouse} holds the synthetic market {stored['market']}; "
            "real ticks need one of their own: set BLOFIN_WAREHOUSE to another folder"
        )
        raise BlofinError(msg)
    return stored["market"], stored.get("market_id", "")
