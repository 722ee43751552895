"""The composition root: `build_defs()` puts everything together, and tests override its parts.

Belongs here: wiring. Does not belong here: anything that decides or computes.
"""

from pathlib import Path
from typing import Any

import dagster as dg

from blofin_assets.assets import (
    active_set,
    drift,
    features,
    forward,
    maintenance,
    market,
    models,
    reports,
    retuning,
    strategies,
)
from blofin_assets.checks import CHECKS
from blofin_assets.drift_checks import FORWARD_CHECKS
from blofin_assets.feature_checks import FEATURE_CHECKS
from blofin_assets.jobs import JOBS
from blofin_assets.notifications import notify_failures
from blofin_assets.retuning import retune_on_drift
from blofin_assets.schedules import SCHEDULES
from blofin_assets.sensors import close_dead_runs_sensor, conductor
from blofin_resources.dagster_resources import (
    ClaudeResource,
    ClockResource,
    EvolutionResource,
    MarketResource,
    NotifierResource,
    WarehouseResource,
)
from blofin_resources.settings import Settings


def build_defs(
    settings: Settings | None = None,
    *,
    resources: dict[str, Any] | None = None,
    console: dg.LoggerDefinition | None = None,
) -> dg.Definitions:
    """Return the whole code location.

    Parameters
    ----------
    settings
        Read from the environment and `.env` where omitted.
    resources
        Resources that replace the ones made from the settings, by name: `warehouse`, `market`, `clock`, `claude`,
        `evolution`, `notifier`.
    console
        Logger that runs speak to when asked to (`runner.CONSOLE`).
    """
    used = settings or Settings()
    return dg.Definitions(
        assets=[
            *market.ASSETS,
            *features.ASSETS,
            *strategies.ASSETS,
            *active_set.ASSETS,
            *models.ASSETS,
            *forward.ASSETS,
            *drift.ASSETS,
            *retuning.ASSETS,
            *reports.ASSETS,
            *maintenance.ASSETS,
        ],
        asset_checks=[*CHECKS, *FEATURE_CHECKS, *FORWARD_CHECKS],
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=[conductor(used), close_dead_runs_sensor, retune_on_drift, notify_failures],
        resources={**build_resources(used), **(resources or {})},
        executor=dg.in_process_executor,
        loggers={"console": console} if console else None,
    )


def build_resources(settings: Settings) -> dict[str, Any]:
    """Return the outside world as the settings describe it."""
    return {
        "warehouse": WarehouseResource(
            folder=str(Path(settings.warehouse).resolve()),
            market=settings.market,
            market_id=settings.market_id,
            own_catalog=settings.catalog is not None,
        ),
        "market": MarketResource(
            market=settings.market,
            archive=str(settings.archive.resolve()) if settings.archive else None,
            api_url=settings.api_url,
            api_patience=settings.api_patience,
            mark_prices=settings.mark_prices,
            seed=settings.seed,
            symbols=list(settings.symbols),
        ),
        "clock": ClockResource(),
        "notifier": NotifierResource(ui_url=settings.ui_url),
        "claude": ClaudeResource(
            budget_usd=settings.ai_budget_usd,
            models=str(settings.ai_models.resolve()) if settings.ai_models else None,
        ),
        "evolution": EvolutionResource(search_budget=settings.search_budget, tuning_budget=settings.tuning_budget),
    }


defs = build_defs()
