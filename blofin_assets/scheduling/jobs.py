"""The jobs: one for each calendar and cadence, each a selection of assets with their checks.

Belongs here: which assets run together. Does not belong here: times (`shared.cadences`, `schedules`), the order of
jobs (`plan`).
"""

from typing import Final

import dagster as dg

from blofin_assets.shared.cadences import DEEP_HISTORY, DRIFT, FORWARD, MARKET_DATA, ML_CYCLE, REPORT, STRATEGY_CYCLE

MARKET_DATA_JOB: Final = dg.define_asset_job(
    MARKET_DATA,
    selection=dg.AssetSelection.groups("market", "features"),
    description="Candles, funding and features of the days named, up to the as-of.",
)
DEEP_HISTORY_JOB: Final = dg.define_asset_job(
    DEEP_HISTORY,
    selection=dg.AssetSelection.groups("universe"),
    description="Days, hours and funding over years, and the universe; up to the midnight that the key names.",
)
STRATEGY_JOB: Final = dg.define_asset_job(
    STRATEGY_CYCLE,
    selection=dg.AssetSelection.groups("strategies", "books"),
    description="Score all strategies and books on their holdouts and rank them; every 48 hours.",
)
ML_JOB: Final = dg.define_asset_job(
    ML_CYCLE,
    selection=dg.AssetSelection.groups("models"),
    description="Train, validate and rank the models; every 12 hours.",
)
FORWARD_JOB: Final = dg.define_asset_job(
    FORWARD,
    selection=dg.AssetSelection.groups("forward"),
    description="Paper-trade everything active; every 12 hours.",
)
DRIFT_JOB: Final = dg.define_asset_job(
    DRIFT,
    selection=dg.AssetSelection.groups("drift"),
    description="Nightly drift tests.",
)
RETUNE: Final = "retune"
RETUNE_JOB: Final = dg.define_asset_job(
    RETUNE,
    selection=dg.AssetSelection.groups("retuning"),
    description="Respond to a failed drift check; started by the sensor retune_on_drift, with the reason as a tag.",
)
REPORT_JOB: Final = dg.define_asset_job(
    REPORT,
    selection=dg.AssetSelection.groups("reports"),
    description="The report of a UTC day, built when the day has ended.",
)
REPLAY_JOB: Final = dg.define_asset_job(
    "replay",
    selection=dg.AssetSelection.groups("replay"),
    description="The desk replayed over a past that the run's configuration names; on no schedule.",
)
MAINTENANCE_JOB: Final = dg.define_asset_job(
    "maintenance",
    selection=dg.AssetSelection.groups("maintenance"),
    description="Merge small files, expire unreferenced snapshots, measure the disk; once a day.",
)

JOBS: Final = [
    MARKET_DATA_JOB,
    DEEP_HISTORY_JOB,
    STRATEGY_JOB,
    ML_JOB,
    FORWARD_JOB,
    DRIFT_JOB,
    RETUNE_JOB,
    REPORT_JOB,
    REPLAY_JOB,
    MAINTENANCE_JOB,
]
