"""Schedules: each tick marks in the warehouse what is due; the sensor `conductor` runs it in order.

Belongs here: when a cadence ticks. Does not belong here: how often each job runs (`shared.cadences`), order and
catching up (`plan`), starting runs (`conductor`).

Schedules of the same minute have no order in Dagster, and after downtime it launches only the latest missed tick. So a
tick starts no run: it marks every as-of up to its time that has not succeeded as due, or as skipped beyond the limit of
catching up.
"""

from typing import Final

import dagster as dg

from blofin_assets.scheduling.jobs import JOBS, MAINTENANCE_JOB, MARKET_DATA_JOB
from blofin_assets.scheduling.progress import WarehouseProgress
from blofin_assets.shared.cadences import CADENCES, HALF_DAY, MARKET_CADENCE, MARKET_DATA, Cadence, Step
from blofin_assets.shared.vocabulary import CycleState
from blofin_resources.dagster_resources import MarketResource, WarehouseResource
from features.bars import floor_time

TICK_WRITER: Final = "schedule"
"""`run_id` of rows that a tick writes: a tick is no run."""

_JOBS: Final = {job.name: job for job in JOBS}
_CRON: Final = {HALF_DAY: "0 0,12 * * *"}
"""Ticks of a cadence; others tick at midnight, and those of the 48-hour grid mark nothing on the days between."""


def _cycle_schedule(cadence: Cadence) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{cadence.job}_schedule",
        cron_schedule=_CRON.get(cadence.every, "0 0 * * *"),
        job=_JOBS[cadence.job],
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Marks {cadence.job} as due every {cadence.every}, including runs missed during downtime.",
    )
    def tick(
        context: dg.ScheduleEvaluationContext, warehouse: WarehouseResource, market: MarketResource
    ) -> dg.SkipReason:
        progress = WarehouseProgress(warehouse.open(), market.symbols)
        due, skipped = progress.mark_due(cadence, context.scheduled_execution_time, TICK_WRITER)
        return dg.SkipReason(_told(due, "due: ") + _told(skipped, "; abandoned: ") + "; the sensor conductor runs it")

    return tick


@dg.schedule(
    name="market_data_schedule",
    cron_schedule="0 * * * *",
    job=MARKET_DATA_JOB,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Marks market data as due up to the full hour.",
)
def market_data_schedule(
    context: dg.ScheduleEvaluationContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.SkipReason:
    """Mark market data as due up to the tick."""
    as_of = floor_time(context.scheduled_execution_time, MARKET_CADENCE)
    key = as_of.date().isoformat()
    WarehouseProgress(warehouse.open(), market.symbols).mark(
        [Step(MARKET_DATA, key, key, as_of)], CycleState.DUE, TICK_WRITER
    )
    return dg.SkipReason(f"due: market data up to {as_of:%Y-%m-%dT%H:%MZ}; the sensor conductor runs it")


@dg.schedule(
    name="maintenance_schedule",
    cron_schedule="30 1 * * *",
    job=MAINTENANCE_JOB,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Maintains the warehouse once a day, when cycles and report have usually finished.",
)
def maintenance_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Request the day's maintenance, which may run beside any other run."""
    return dg.RunRequest(run_key=f"maintenance:{context.scheduled_execution_time:%Y-%m-%d}")


def _told(steps: list[Step], label: str) -> str:
    return label + (", ".join(step.first_key for step in steps) or "nothing")


SCHEDULES: Final = [market_data_schedule, maintenance_schedule, *(_cycle_schedule(cadence) for cadence in CADENCES)]
