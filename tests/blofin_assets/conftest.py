"""A small platform of its own for each test: two symbols of the sample market in a temporary warehouse."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from blofin_assets.definitions import build_defs, build_resources
from blofin_assets.instance import prepare_home
from blofin_assets.plan import Plan, plan
from blofin_assets.progress import WarehouseProgress
from blofin_assets.runner import Outcome, execute
from blofin_resources.dagster_resources import WarehouseResource
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

AS_OF = datetime(2026, 3, 13, 0, tzinfo=UTC)
START = date(2026, 3, 1)


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
        assert [outcome.errors for outcome in outcomes] == [()] * len(outcomes)
        return outcomes


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's settings and `.env` out of tests."""
    for name in list(os.environ):
        if name.startswith(("BLOFIN_", "ANTHROPIC_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Platform]]:
    """Return a function that opens a platform in a folder of the test's own."""
    opened: list[dg.DagsterInstance] = []

    def make(folder: str = "warehouse", **changes: object) -> Platform:
        settings = Settings(
            warehouse=tmp_path / folder, symbols="BTC-USDT,ETH-USDT", **{"start": START.isoformat(), **changes}
        )
        settings.warehouse.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("DAGSTER_HOME", str(prepare_home(settings.warehouse)))
        resource = build_resources(settings)["warehouse"]
        assert isinstance(resource, WarehouseResource)
        warehouse = resource.open()
        instance = dg.DagsterInstance.get()
        opened.append(instance)
        return Platform(
            settings, build_defs(settings), warehouse, instance, WarehouseProgress(warehouse, settings.symbols)
        )

    yield make
    for instance in opened:
        instance.dispose()


@pytest.fixture
def platform(make_platform: Callable[..., Platform]) -> Platform:
    return make_platform()
