"""`blofin import-ticks`: the older system's file into a warehouse of a real market.

Belongs here: which warehouse takes it, the run that it becomes, the progress bar. Does not belong here: what is
imported and how (`blofin_resources.market.import_ticks`).
"""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from blofin_assets.instance import prepare_home
from blofin_assets.runner import CONSOLE, console
from blofin_resources.dagster_resources import open_warehouse
from blofin_resources.errors import BlofinError, WarehouseError
from blofin_resources.market.import_ticks import Imported, import_ticks
from blofin_resources.market.ticks import TicksFile
from blofin_resources.processes import exclusive, process_identity
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

_TICKS_MARKET = "blofin"
"""The market that the older system's ticks are of."""


def import_file(path: Path) -> None:
    """Import a file, showing how far it is, and print what came of it."""
    settings = Settings()
    out = Console()
    with TicksFile(path) as file:  # refused before a warehouse is made
        market, market_id = _market(settings)
        folder = str(settings.warehouse.resolve())
        store = open_warehouse(folder, market, market_id, settings.catalog)
        store.bind_instance(prepare_home(settings.warehouse))
        with (
            exclusive(store.folder, "import-ticks", wait_seconds=0),
            Progress(
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TimeElapsedColumn(), console=out,
            ) as bars,
        ):  # fmt: skip
            task = bars.add_task(f"ticks of {path.name}", total=file.ticks())

            def work(run_id: str) -> Imported:
                return import_ticks(
                    store,
                    file,
                    run_id=run_id,
                    progress=lambda read, total: bars.update(task, completed=read, total=total),
                )

            done = _as_run(path, work)
    table = Table(title=f"{path.name} into {settings.warehouse} ({market} market)")
    for column in ("table", "in the file", "new"):
        table.add_column(column, justify="left" if column == "table" else "right")
    for name, found in done.found.items():
        table.add_row(name, f"{found:,}", f"{done.added[name]:,}")
    out.print(table)
    if settings.market != market:
        out.print(f"to go on with this warehouse: BLOFIN_MARKET={market}")


def _market(settings: Settings) -> tuple[str, str]:
    """Return the market of the warehouse: its own where it exists, else the one set, else that of the ticks.

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
        return (settings.market if real else _TICKS_MARKET), ""
    if known["market"].startswith("sample"):
        msg = (
            f"the warehouse {settings.warehouse} holds the synthetic market {known['market']}; "
            "real ticks need one of their own: set BLOFIN_WAREHOUSE to another folder"
        )
        raise BlofinError(msg)
    return known["market"], known.get("market_id", "")


def _as_run(path: Path, work: Callable[[str], Imported]) -> Imported:
    """Do the work as a Dagster run, so that the rows that it writes name a run that exists."""
    done: list[Imported] = []

    @dg.op(name="import_ticks", description=f"Import {path}.")
    def body(context: dg.OpExecutionContext) -> None:
        try:
            done.append(work(context.run_id))
        except BlofinError as error:
            raise dg.Failure(str(error), allow_retries=False) from None

    @dg.job(name="import_ticks", logger_defs={"console": console(lambda *_: None)})
    def job() -> None:
        body()

    with dg.DagsterInstance.get() as instance:
        tags = {"blofin/file": path.name[:60], **process_identity()}
        result = job.execute_in_process(instance=instance, tags=tags, run_config=CONSOLE, raise_on_error=False)
    if not result.success:
        failed = next(event.step_failure_data for event in result.all_events if event.is_step_failure)
        told = failed.user_failure_data.description if failed.user_failure_data else None
        raise BlofinError(told or (failed.error.message.strip() if failed.error else f"importing {path} failed"))
    return done[0]
