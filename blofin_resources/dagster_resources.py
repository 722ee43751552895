"""The outside world as Dagster [resources](https://docs.dagster.io/guides/build/external-resources).

Belongs here: thin wrappers through which assets get the warehouse, the market and the clock. Does not belong here:
what those do (`warehouse`, `market`), what is done with them (`blofin_assets`).

Whoever may start a run may not choose its folder, budget, addresses or clock: those are settings of the process, and
`from_settings_alone` removes them from the configuration of runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import dagster as dg

from blofin_resources.claude import Claude, load_models
from blofin_resources.claude.request import DEADLINE_SECONDS, RETRIES
from blofin_resources.market import MarketSource, open_market
from blofin_resources.notifier import Notifier
from blofin_resources.processes import exclusive, process_identity
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

LOCK_WAIT_SECONDS: Final = 3600.0
"""How long a run waits for another process that executes the same job on the same key."""

AS_OF_TAG: Final = "blofin/as_of"
"""Run tag: nothing later than this may be read."""


@lru_cache(maxsize=8)
def open_warehouse(folder: str, market: str, market_id: str, catalog: str | None) -> Warehouse:
    """Open a warehouse once per process: the first connection costs 0.3 s, and DuckDB expects one per process.

    Parameters
    ----------
    folder : str
        Folder of the warehouse.
    market, market_id : str
        Market and what distinguishes it from others of that name.
    catalog : str or None
        DuckLake catalog; the file in the folder where None.

    Returns
    -------
    Warehouse
        The same object for the same arguments.
    """
    return Warehouse.open(Path(folder), market=market, market_id=market_id, catalog=catalog)


class MarketResource(dg.ConfigurableResource["MarketResource"]):
    """Where candles and funding come from, and which symbols are traded, as `Settings` has them."""

    market: str
    archive: str | None
    api_url: str | None
    seed: int
    symbols: list[str]
    api_patience: float = 120.0
    api_wait: bool = False
    mark_prices: bool = True
    universe: str = "off"
    deep_start: str | None = None

    def source(self) -> MarketSource:
        """Return the source; the same object for the whole process, so that what it caches serves every run."""
        return _open_market(self.market, self.archive, self.api_url, self.seed, self.api_patience, self.api_wait)


@lru_cache(maxsize=8)
def _open_market(
    market: str, archive: str | None, api_url: str | None, seed: int, patience: float, wait: bool
) -> MarketSource:
    folder = Path(archive) if archive else None
    return open_market(market, archive=folder, api_url=api_url, seed=seed, patience=patience, wait=wait)


class WarehouseResource(dg.ConfigurableResource["WarehouseResource"]):
    """The warehouse. Each run is tagged with its process, and locks out concurrent runs of its job and key."""

    folder: str
    market: str
    market_id: str = ""
    own_catalog: bool = False
    keep_days: int | None = None

    def open(self) -> Warehouse:
        """Return the warehouse; the same object for the whole process."""
        # A catalog's address may hold a password, and Dagster shows a resource's fields: it is read where it is used.
        catalog = Settings().catalog if self.own_catalog else None
        return open_warehouse(self.folder, self.market, self.market_id, catalog)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["WarehouseResource"]:
        """Record the executing process on the run, and make other runs of the same job and key wait."""
        run = context.run
        if run is None or context.instance is None:
            yield self
            return
        context.instance.add_run_tags(run.run_id, process_identity())
        if not context.instance.is_ephemeral:
            warning = self.open().bind_instance(Path(context.instance.root_directory))
            if warning and context.log:
                context.log.warning(warning)
        with exclusive(Path(self.folder), _lock_name(run), wait_seconds=LOCK_WAIT_SECONDS):
            yield self


class NotifierResource(dg.ConfigurableResource["NotifierResource"]):
    """The webhook for failures. Its address is a secret and not a field, because Dagster shows fields."""

    ui_url: str

    def open(self) -> Notifier:
        """Return the notifier that the environment describes now."""
        return Notifier.of(Settings())


class ClockResource(dg.ConfigurableResource["ClockResource"]):
    """The clock. `fixed` stops it, for tests and simulations."""

    fixed: str | None = None

    def now(self) -> datetime:
        """Return the present time in UTC, or the fixed one."""
        return datetime.fromisoformat(self.fixed) if self.fixed else datetime.now(UTC)

    def as_of(self, run: dg.DagsterRun) -> datetime:
        """Return the as-of of a run: its tag, else the current minute. The run may read nothing later."""
        tag = run.tags.get(AS_OF_TAG)
        moment = datetime.fromisoformat(tag) if tag else self.now()
        return moment.replace(second=0, microsecond=0)


class ClaudeResource(dg.ConfigurableResource["ClaudeResource"]):
    """Claude within its daily budget. Key and address are not fields, because Dagster shows fields to everybody."""

    budget_usd: float
    models: str | None = None
    deadline_seconds: float = DEADLINE_SECONDS
    retries: int = RETRIES

    def open(self, warehouse: Warehouse, clock: ClockResource) -> Claude:
        """Return a client for one run, which records in `warehouse`; key and address are read here."""
        settings = Settings()
        return Claude(
            warehouse,
            key=settings.anthropic_api_key,
            budget_usd=self.budget_usd,
            base_url=settings.anthropic_base_url,
            models=load_models(Path(self.models) if self.models else None),
            deadline_seconds=self.deadline_seconds,
            retries=self.retries,
            clock=clock.now,
        )


def from_settings_alone(resource: dg.ConfigurableResource[Any]) -> dg.ResourceDefinition:
    """Return a resource as configured here, without fields that a run's configuration could change."""

    @contextmanager
    def made(context: dg.InitResourceContext) -> Iterator[Any]:
        with resource.yield_for_execution(context) as value:
            yield value

    return dg.ResourceDefinition(resource_fn=made, config_schema={}, description=type(resource).__doc__)


def in_memory() -> dg.IOManagerDefinition:
    """Return an IO manager for asset outputs, which are empty; Dagster's default takes a folder from a run."""

    def made(_: dg.InitResourceContext) -> dg.IOManager:
        return dg.InMemoryIOManager()  # type: ignore[no-untyped-call]  # Dagster gives its __init__ no types

    return dg.IOManagerDefinition(resource_fn=made, config_schema={})


class EvolutionResource(dg.ConfigurableResource["EvolutionResource"]):
    """Budgets of the search in a strategy cycle, equal for all designers."""

    search_budget: int
    tuning_budget: int


def _lock_name(run: dg.DagsterRun) -> str:
    """Return the name under which a run excludes others: its job (or assets) and its keys."""
    assets = "+".join(sorted(key.to_user_string() for key in run.asset_selection or ()))
    keys = [run.tags.get(f"dagster/{tag}", "") for tag in ("partition", "asset_partition_range_start")]
    return f"{assets or run.job_name}-{''.join(keys) or 'all'}"[:120]
