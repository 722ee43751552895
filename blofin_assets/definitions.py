"""The composition root: `build_defs()` assembles the code location; tests override parts of it.

Belongs here: wiring. Does not belong here: decisions and computation.
"""

from pathlib import Path
from typing import Any, Final

import dagster as dg

from blofin_assets import maintenance
from blofin_assets.drift import assets as drift_assets
from blofin_assets.drift import checks as drift_checks
from blofin_assets.drift import evidence, retuning
from blofin_assets.drift.sensor import retune_on_drift
from blofin_assets.features import assets as feature_assets
from blofin_assets.features import checks as feature_checks
from blofin_assets.forward import assets as forward_assets
from blofin_assets.forward import checks as forward_checks
from blofin_assets.market import assets as market_assets
from blofin_assets.market import checks as market_checks
from blofin_assets.market import deep_assets, deep_checks
from blofin_assets.ml_cycle import drift_response, ensembles, models
from blofin_assets.ml_cycle import ranking as model_ranking
from blofin_assets.replay import assets as replay_assets
from blofin_assets.reporting import assets as report_assets
from blofin_assets.reporting import checks as report_checks
from blofin_assets.scheduling.conductor import close_dead_runs_sensor, conductor
from blofin_assets.scheduling.dagster_files import ease_dagster_files
from blofin_assets.scheduling.jobs import JOBS
from blofin_assets.scheduling.notifications import notify_failures
from blofin_assets.scheduling.schedules import SCHEDULES
from blofin_assets.strategy_cycle import (
    book_evaluation,
    book_library,
    book_ranking,
    book_search,
    design,
    evaluation,
    in_sample,
    knowledge,
    library,
    portfolio,
    tuning,
)
from blofin_assets.strategy_cycle import ranking as strategy_ranking
from blofin_resources.dagster_resources import (
    ClaudeResource,
    ClockResource,
    EvolutionResource,
    MarketResource,
    NotifierResource,
    WarehouseResource,
    from_settings_alone,
    in_memory,
)
from blofin_resources.settings import Settings

MODULES: Final = (
    market_assets, market_checks, deep_assets, deep_checks, feature_assets, feature_checks,
    library, in_sample, tuning, design, evaluation, strategy_ranking, knowledge,
    book_library, book_search, book_evaluation, book_ranking, portfolio,
    models, ensembles, drift_response, model_ranking,
    forward_assets, forward_checks, drift_assets, drift_checks, evidence, retuning,
    report_assets, report_checks, replay_assets, maintenance,
)  # fmt: skip
"""Modules of assets and checks, in the order of the data flow."""


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
        Settings; read from the environment and `.env` if omitted.
    resources
        Resources that replace the ones made from the settings, by name: `warehouse`, `market`, `clock`, `claude`,
        `evolution`, `notifier`.
    console
        Logger of runs that are configured with `runner.CONSOLE`.

    Returns
    -------
    Definitions
        Assets, checks, jobs, schedules, sensors and resources.
    """
    ease_dagster_files()
    used = settings or Settings()
    return dg.Definitions(
        assets=dg.load_assets_from_modules(MODULES),
        asset_checks=dg.load_asset_checks_from_modules(MODULES),
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=[conductor(used), close_dead_runs_sensor, retune_on_drift, notify_failures],
        resources={
            **{
                name: from_settings_alone(resource)
                for name, resource in {**build_resources(used), **(resources or {})}.items()
            },
            "io_manager": in_memory(),
        },
        executor=dg.in_process_executor,
        loggers={"console": console} if console else None,
    )


def build_resources(settings: Settings) -> dict[str, Any]:
    """Return the resources that the settings describe."""
    return {
        "warehouse": WarehouseResource(
            folder=str(Path(settings.warehouse).resolve()),
            market=settings.market,
            market_id=settings.market_id,
            own_catalog=settings.catalog is not None,
            keep_days=settings.keep,
        ),
        "market": MarketResource(
            market=settings.market,
            archive=str(settings.archive.resolve()) if settings.archive else None,
            api_url=settings.api_url,
            api_patience=settings.api_patience,
            api_wait=settings.api_wait,
            mark_prices=settings.mark_prices,
            seed=settings.seed,
            symbols=list(settings.symbols),
            universe=settings.universe,
            deep_start=settings.deep_start.isoformat() if settings.deep_start else None,
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
