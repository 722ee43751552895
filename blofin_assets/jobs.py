"""The jobs: one for each calendar and cadence, each a selection of assets with their checks.

Belongs here: which assets run together. Does not belong here: when (`plan`, `schedules`), in which order jobs follow
each other (`plan`).
"""

from typing import Final

import dagster as dg

from blofin_assets.partitions import days, half_days, two_days
from blofin_assets.plan import DAILY_REPORT, ML_CYCLE, STRATEGY_CYCLE

MARKET_DATA_JOB: Final = dg.define_asset_job(
    "market_data",
    selection=dg.AssetSelection.groups("market", "features"),
    partitions_def=days,
    description="Candles, funding and features of the days named, up to the as-of.",
)
STRATEGY_JOB: Final = dg.define_asset_job(
    STRATEGY_CYCLE,
    selection=dg.AssetSelection.groups("strategies"),
    partitions_def=two_days,
    description="Score every strategy on the exam window and rank them; every 48 hours.",
)
ML_JOB: Final = dg.define_asset_job(
    ML_CYCLE,
    selection=dg.AssetSelection.groups("models"),
    partitions_def=half_days,
    description="Train, validate and rank the models; every 12 hours.",
)
REPORT_JOB: Final = dg.define_asset_job(
    DAILY_REPORT,
    selection=dg.AssetSelection.groups("reports"),
    partitions_def=days,
    description="The report of a UTC day, made when it has ended.",
)

JOBS: Final = [MARKET_DATA_JOB, STRATEGY_JOB, ML_JOB, REPORT_JOB]
