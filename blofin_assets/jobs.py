"""The jobs: one for each calendar and cadence, each a selection of assets with their checks.

Belongs here: which assets run together. Does not belong here: when (`plan`, `schedules`), in which order jobs follow
each other (`plan`).
"""

from typing import Final

import dagster as dg

from blofin_assets.plan import DRIFT, FORWARD, MARKET_DATA, ML_CYCLE, REPORT, STRATEGY_CYCLE

MARKET_DATA_JOB: Final = dg.define_asset_job(
    MARKET_DATA,
    selection=dg.AssetSelection.groups("market", "features"),
    description="Candles, funding and features of the days named, up to the as-of.",
)
STRATEGY_JOB: Final = dg.define_asset_job(
    STRATEGY_CYCLE,
    selection=dg.AssetSelection.groups("strategies"),
    description="Score every strategy on the exam window and rank them; every 48 hours.",
)
ML_JOB: Final = dg.define_asset_job(
    ML_CYCLE,
    selection=dg.AssetSelection.groups("models"),
    description="Train, validate and rank the models; every 12 hours.",
)
FORWARD_JOB: Final = dg.define_asset_job(
    FORWARD,
    selection=dg.AssetSelection.groups("forward"),
    description="Follow what is active on data after its activation; every 12 hours.",
)
DRIFT_JOB: Final = dg.define_asset_job(
    DRIFT,
    selection=dg.AssetSelection.groups("drift"),
    description="Hold the forward results against what was promised; every night.",
)
RETUNE: Final = "retune"
RETUNE_JOB: Final = dg.define_asset_job(
    RETUNE,
    selection=dg.AssetSelection.groups("retuning"),
    description="What a failed drift check sets off; started by the sensor retune_on_drift, with the reason as a tag.",
)
REPORT_JOB: Final = dg.define_asset_job(
    REPORT,
    selection=dg.AssetSelection.groups("reports"),
    description="The report of a UTC day, made when it has ended.",
)
MAINTENANCE_JOB: Final = dg.define_asset_job(
    "maintenance",
    selection=dg.AssetSelection.groups("maintenance"),
    description="Merge small files, forget snapshots that nobody names, measure the disk; once a day.",
)

JOBS: Final = [MARKET_DATA_JOB, STRATEGY_JOB, ML_JOB, FORWARD_JOB, DRIFT_JOB, RETUNE_JOB, REPORT_JOB, MAINTENANCE_JOB]
