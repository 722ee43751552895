"""The outside world as Dagster [resources](https://docs.dagster.io/guides/build/external-resources).

Belongs here: the thin shells through which assets get the warehouse, the market and the clock. Does not belong here:
what those do (`warehouse`, `market`), what is done with them (`blofin_assets`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

import dagster as dg

from blofin_resources.claude import Claude, load_models
from blofin_resources.claude.messages import DEADLINE_SECONDS, RETRIES
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
    """Open a warehouse once a process: a new connection costs 140 ms and DuckDB wants one a process."""
    return Warehouse.open(Path(folder), market=market, market_id=market_id, catalog=catalog)


class MarketResource(dg.ConfigurableResource["MarketResource"]):
    """Where candles and funding come from, and which symbols are traded, as `Settings` has them."""

    market: str
    archive: str | None
    api_url: str
    seed: int
    symbols: list[str]
    api_patience: float = 120.0
    mark_prices: bool = True

    def source(self) -> MarketSource:
        """Return the source; the same object for the whole process, so that what it caches serves every run."""
        return _open_market(self.market, self.archive, self.api_url, self.seed, self.api_patience)


@lru_cache(maxsize=8)
def _open_market(market: str, archive: str | None, api_url: str, seed: int, patience: float) -> MarketSource:
    folder = Path(archive) if archive else None
    return open_market(market, archive=folder, api_url=api_url, seed=seed, patience=patience)


class WarehouseResource(dg.ConfigurableResource["WarehouseResource"]):
    """The warehouse, and the two things that each run owes to other processes: its identity and a lock."""

    folder: str
    market: str
    market_id: str = ""
    own_catalog: bool = False

    def open(self) -> Warehouse:
        """Return the warehouse; the same object for the whole process."""
        # A catalog's address may hold a password, and Dagster shows a resource's fields: it is read where it is used.
        catalog = Settings().catalog if self.own_catalog else None
        return open_warehouse(self.folder, self.market, self.market_id, catalog)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["WarehouseResource"]:
        """Record the executing process on the run and keep other runs of the same job and key waiting."""
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
    """The webhook that is told of failures. Dagster shows fields, and its address is a secret: it is none of them."""

    ui_url: str

    def open(self) -> Notifier:
        """Return the notifier that the environment describes now."""
        return Notifier.of(Settings())


class ClockResource(dg.ConfigurableResource["ClockResource"]):
    """The time. `fixed` stops it, for tests and simulations."""

    fixed: str | None = None

    def now(self) -> datetime:
        """Return the present time in UTC, or the fixed one."""
        return datetime.fromisoformat(self.fixed) if self.fixed else datetime.now(UTC)

    def as_of(self, run: dg.DagsterRun) -> datetime:
        """Return the time after which the run may read nothing: its tag, else the present minute."""
        tag = run.tags.get(AS_OF_TAG)
        moment = datetime.fromisoformat(tag) if tag else self.now()
        return moment.replace(second=0, microsecond=0)


class ClaudeResource(dg.ConfigurableResource["ClaudeResource"]):
    """Claude within its daily budget. The key and the address are no fields: Dagster shows those to everybody."""

    budget_usd: float
    models: str | None = None
    deadline_seconds: float = DEADLINE_SECONDS
    retries: int = RETRIES

    def open(self, warehouse: Warehouse, clock: ClockResource) -> Claude:
        """Return a client for one run, which reads key and address where it is made and records in `warehouse`."""
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


class EvolutionResource(dg.ConfigurableResource["EvolutionResource"]):
    """How hard a strategy cycle looks: the same for everybody who designs."""

    search_budget: int
    tuning_budget: int


def _lock_name(run: dg.DagsterRun) -> str:
    """Return the name under which a run excludes others: its job (or assets) and its keys."""
    assets = "+".join(sorted(key.to_user_string() for key in run.asset_selection or ()))
    keys = [run.tags.get(f"dagster/{tag}", "") for tag in ("partition", "asset_partition_range_start")]
    return f"{assets or run.job_name}-{''.join(keys) or 'all'}"[:120]
