"""The session of a command: settings, warehouse, Dagster instance, definitions.

Belongs here: opening them in the right order with the right environment. Does not belong here: using them.
"""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg
import typer

from blofin_assets.scheduling.instance import close_dead_runs, prepare_home
from blofin_assets.scheduling.progress import WarehouseProgress
from blofin_resources.dagster_resources import open_warehouse
from blofin_resources.settings import Settings
from blofin_resources.texts import for_terminal
from blofin_resources.warehouse import Warehouse


@dataclass(frozen=True)
class Session:
    """An open warehouse with its Dagster instance.

    Attributes
    ----------
    settings, warehouse, instance
        As opened.
    progress
        Completed cycles of this warehouse.
    """

    settings: Settings
    warehouse: Warehouse
    instance: dg.DagsterInstance
    progress: WarehouseProgress


def open_session() -> Session:
    """Open the warehouse that the settings name, with its own Dagster instance; close dead runs."""
    settings = Settings()
    warehouse = open_warehouse(str(settings.warehouse.resolve()), settings.market, settings.market_id, settings.catalog)
    home = prepare_home(settings.warehouse)
    warning = warehouse.bind_instance(home)
    if warning:
        typer.secho(f"blofin: {for_terminal(warning)}", fg=typer.colors.YELLOW, err=True)
    instance = dg.DagsterInstance.get()
    close_dead_runs(instance)
    return Session(
        settings,
        warehouse,
        instance,
        WarehouseProgress(warehouse, settings.symbols, settings.universe, settings.deep_start),
    )


def report_path(folder: Path, as_of: datetime) -> Path:
    """Return the path of the report page as of `as_of`, relative to the working folder if possible."""
    from blofin_assets.shared.partitions import DAY, day_key

    path = folder.resolve() / "reports" / f"{day_key(as_of - DAY)}.html"
    return Path(os.path.relpath(path)) if path.is_relative_to(Path.cwd()) else path
