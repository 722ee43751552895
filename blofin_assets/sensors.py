"""Sensors: the conductor that starts what is due in order, and the one that closes dead runs.

Belongs here: turning due steps into run requests. Does not belong here: marking them due (`schedules`), their order
(`plan`), executing them in this process (`runner`).
"""

from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from blofin_assets.instance import close_dead_runs
from blofin_assets.jobs import JOBS
from blofin_assets.plan import Step, market_steps
from blofin_assets.progress import WarehouseProgress
from blofin_assets.runner import STEP_TAG, step_tags
from blofin_resources.dagster_resources import MarketResource, WarehouseResource
from blofin_resources.settings import Settings

MAX_ATTEMPTS: Final = 3
"""Runs of one step before it waits for a person."""

RETRY_AFTER: Final = timedelta(minutes=5)
"""Time between two attempts at a step."""

_ACTIVE: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def next_step(progress: WarehouseProgress, settings: Settings) -> Step | None:
    """Return the first step that is due and not done: market data up to what the due cycles need, then the cycles."""
    cycles = progress.open_due()
    wanted = [time for time in (progress.market_due(), *(step.as_of for step in cycles)) if time is not None]
    if not wanted:
        return None
    market = market_steps(max(wanted), settings.start_for(max(wanted)), progress)
    return next(iter([*market, *cycles]), None)


def request(step: Step, instance: dg.DagsterInstance, now: datetime) -> dg.RunRequest | dg.SkipReason:
    """Return the request for a step's next attempt, or why there is none yet.

    A step waits while any run of a plan is active, so that order holds and nothing runs twice.
    """
    active = instance.get_runs(dg.RunsFilter(statuses=_ACTIVE))
    busy = next((run for run in active if STEP_TAG in run.tags), None)
    if busy is not None:
        return dg.SkipReason(f"{busy.tags[STEP_TAG]} is running; {step.run_key} is next")
    tried = instance.get_run_records(dg.RunsFilter(tags={STEP_TAG: step.run_key}))
    if len(tried) >= MAX_ATTEMPTS:
        return dg.SkipReason(f"{step.run_key} failed {len(tried)} times; look at its runs, then: blofin run")
    if tried and now - max(record.create_timestamp for record in tried) < RETRY_AFTER:
        return dg.SkipReason(f"{step.run_key} failed; tried again {RETRY_AFTER} after the last attempt")
    return dg.RunRequest(
        run_key=step.run_key if not tried else f"{step.run_key}#{len(tried) + 1}",
        job_name=step.job,
        partition_key=step.first_key if step.first_key == step.last_key else None,
        tags=step_tags(step),
    )


def conductor(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor that requests the next due step once its predecessors have succeeded."""

    @dg.sensor(
        name="conductor",
        jobs=JOBS,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts what the schedules marked as due: market data first, then the cycles, oldest first.",
    )
    def evaluate(
        context: dg.SensorEvaluationContext, warehouse: WarehouseResource, market: MarketResource
    ) -> dg.RunRequest | dg.SkipReason:
        close_dead_runs(context.instance)
        step = next_step(WarehouseProgress(warehouse.open(), market.symbols), settings)
        if step is None:
            return dg.SkipReason("nothing is due")
        return request(step, context.instance, datetime.now(UTC))

    return evaluate


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Closes runs whose process was killed, so that they hold no place in the queue.",
)
def close_dead_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Close the runs whose process is gone."""
    closed = close_dead_runs(context.instance)
    return dg.SkipReason(f"closed {', '.join(closed)}" if closed else "no dead runs")
