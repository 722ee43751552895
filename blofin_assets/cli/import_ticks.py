"""`blofin import-ticks`: the older system's file into a warehouse of a real market.

Belongs here: which warehouse takes it, the progress bar, the table at the end. Does not belong here: what is imported
and how (`blofin_resources.market.import_ticks`).

Nothing here needs Dagster, whose instance alone would take longer to open than half a million ticks take to read.
"""

from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from blofin_resources.errors import BlofinError, WarehouseError
from blofin_resources.market.import_ticks import import_ticks
from blofin_resources.market.ticks import TicksFile
from blofin_resources.processes import exclusive
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

RUN_ID: Final = "blofin import-ticks"
"""What imported rows carry, with the file's name, in place of a Dagster run's id: this is no run."""

_TICKS_MARKET: Final = "blofin"
"""The market that the older system's ticks are of."""


def import_file(path: Path) -> None:
    """Import a file, showing how far it is, and print what came of it."""
    settings = Settings()
    out = Console()
    with TicksFile(path) as file:  # refused before a warehouse is made
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
            task = bars.add_task(f"ticks of {path.name}", total=file.ticks())
            done = import_ticks(
                store,
                file,
                run_id=f"{RUN_ID} {path.name}",
                progress=lambda read, total: bars.update(task, completed=read, total=total),
            )
    table = Table(title=f"{path.name} into {settings.warehouse} ({market} market)")
    for column in ("table", "in the file", "new"):
        table.add_column(column, justify="left" if column == "table" else "right")
    for name, found in done.found.items():
        table.add_row(name, f"{found:,}", f"{done.added[name]:,}")
    out.print(table)
    if settings.market != market:
        out.print(f"to go on with this warehouse: BLOFIN_MARKET={market}")


def _market(settings: Settings) -> tuple[str, str]:
    """Return market and id of the warehouse: its own where it exists, else the one set, else that of the ticks.

    A new one gets the id that the settings give to that market, since every later command asks for it.

    Raises
    ------
    BlofinError
        If the warehouse holds a synthetic market: real bars do not go among made-up ones.
    """
    try:
        with Warehouse.open_readonly(settings.warehouse, catalog=settings.catalog) as store:
            known = dict(store.read("SELECT key, value FROM meta.settings WHERE key LIKE 'market%'").iter_rows())
    except WarehouseError:  # none yet, or broken, which opening it for writing will say
        real = not settings.market.startswith("sample")
        named = settings if real else settings.model_copy(update={"market": _TICKS_MARKET})
        return named.market, named.market_id
    if known["market"].startswith("sample"):
        msg = (
            f"the warehouse {settings.warehouse} holds the synthetic market {known['market']}; "
            "real ticks need one of their own: set BLOFIN_WAREHOUSE to another folder"
        )
        raise BlofinError(msg)
    return known["market"], known.get("market_id", "")
