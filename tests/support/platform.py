"""A small platform for tests: two symbols of the sample market in a folder of its own."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from support.warehouses import kept_folder, put_warehouse

from blofin_assets.definitions import build_defs, build_resources
from blofin_assets.reporting import ReportData, collect
from blofin_assets.reporting.section import Section
from blofin_assets.reporting.sections import SECTIONS
from blofin_assets.scheduling.instance import prepare_home
from blofin_assets.scheduling.plan import Plan, plan
from blofin_assets.scheduling.progress import WarehouseProgress
from blofin_assets.scheduling.runner import Outcome, console, execute
from blofin_assets.shared.code_version import PROJECT
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

AS_OF = datetime(2026, 3, 13, 0, tzinfo=UTC)
START = date(2026, 3, 1)

SMALL = {
    "symbols": "BTC-USDT,ETH-USDT",
    "start": START.isoformat(),
    "search_budget": 24,
    "tuning_budget": 4,
    "universe": "off",
}
"""Settings of a platform that runs a cycle in seconds."""


@dataclass(frozen=True)
class Platform:
    """Everything a test drives: settings, definitions, warehouse, instance."""

    settings: Settings
    defs: dg.Definitions
    warehouse: Warehouse
    instance: dg.DagsterInstance
    progress: WarehouseProgress

    def plan(self, as_of: datetime = AS_OF) -> Plan:
        return plan(as_of, self.settings.start_for(as_of), self.progress)

    def run(self, as_of: datetime = AS_OF, jobs: tuple[str, ...] | None = None) -> list[Outcome]:
        steps = [step for step in self.plan(as_of).steps if jobs is None or step.job in jobs]
        outcomes = [execute(step, self.defs.resolve_job_def(step.job), self.instance) for step in steps]
        errors = [outcome.errors for outcome in outcomes]
        assert errors == [()] * len(outcomes), errors
        return outcomes


Make = Callable[..., Platform]


def keep_surroundings_out(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Work in a folder without `.env`, and without the user's settings."""
    for name in list(os.environ):
        if name.startswith(("BLOFIN_", "ANTHROPIC_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)


@contextmanager
def platforms(root: Path) -> Iterator[Make]:
    """Give a function that opens a platform in a folder below `root`."""
    opened: list[dg.DagsterInstance] = []

    def make(folder: str = "warehouse", **changes: object) -> Platform:
        given = {**SMALL, **changes}
        settings = Settings(warehouse=root / folder, **given)
        put_record(settings.warehouse / ".dagster")
        if settings.catalog is None:
            put_warehouse(settings.warehouse, market=settings.market, market_id=settings.market_id)
        warehouse = build_resources(settings)["warehouse"].open()
        instance = dg.DagsterInstance.from_config(str(prepare_home(settings.warehouse)))
        opened.append(instance)
        return Platform(
            settings,
            build_defs(settings, console=console(lambda *_: None)),
            warehouse,
            instance,
            WarehouseProgress(warehouse, settings.symbols, settings.universe, settings.deep_start),
        )

    yield make
    for instance in opened:
        instance.dispose()


def put_record(home: Path) -> None:
    """Put Dagster's record of no run into its folder, unless there is one."""
    if not home.exists():
        shutil.copytree(_made_record(), home)


@cache
def _made_record() -> Path:
    """Return the folder of a record that Dagster has made, once in a test process: it takes some hundred statements."""
    folder = kept_folder()
    shutil.copyfile(PROJECT / "dagster.yaml", folder / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        instance.get_runs()
    return folder


def report_data(
    warehouse: Warehouse, as_of: datetime = AS_OF, sections: tuple[Section[Any, Any], ...] = SECTIONS
) -> ReportData:
    """Return what a report is made of, with the settings of another day: other symbols in another order."""
    symbols = ("SOL-USDT", "ETH-USDT", "BTC-USDT")
    return collect(warehouse, as_of, market="sample", synthetic=True, symbols=symbols, seed=7, sections=sections)


def content(warehouse: Warehouse, table: str) -> pl.DataFrame:
    """Return a table's rows without what names the run or the order of writes."""
    frame = warehouse.read(f"SELECT * EXCLUDE (run_id) FROM {table} ORDER BY ALL")
    return frame.drop("snapshot_id", strict=False)


def differing(left: pl.DataFrame, right: pl.DataFrame) -> list[str]:
    """Return the columns in which two tables differ; all of them where they have other columns or lengths."""
    if left.columns != right.columns or left.height != right.height:
        return left.columns
    return [name for name in left.columns if not left[name].equals(right[name])]
