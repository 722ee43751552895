"""Sensors: the conductor that starts what is due in order, and the one that closes dead runs.

Belongs here: turning due steps into run requests. Does not belong here: marking them due (`schedules`), their order
(`plan`), executing them in this process (`runner`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from blofin_assets.scheduling.instance import close_dead_runs
from blofin_assets.scheduling.jobs import JOBS
from blofin_assets.scheduling.plan import deep_steps, market_steps
from blofin_assets.scheduling.progress import WarehouseProgress
from blofin_assets.scheduling.runner import step_tags
from blofin_assets.shared.asset import STEP_TAG
from blofin_assets.shared.cadences import DEEP_HISTORY, DRIFT, FORWARD, IN_ORDER, MARKET_DATA, REPORT, Step
from blofin_assets.shared.vocabulary import CycleState
from blofin_resources.dagster_resources import MarketResource, WarehouseResource
from blofin_resources.settings import Settings

MAX_ATTEMPTS: Final = 3
"""Runs of one step before it waits for a person."""

CONDUCTOR: Final = "conductor"
"""What rows that the sensor wrote carry in place of a run's id."""

RETRY_AFTER: Final = timedelta(minutes=5)
"""Time between two attempts at a step."""

_STAGE: Final = {FORWARD: 1, DRIFT: 2, REPORT: 3}
"""Which jobs are made from which: each from those of lower stages, the cycles (0) from market data alone."""

_ACTIVE: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def open_steps(progress: WarehouseProgress, settings: Settings) -> list[Step]:
    """Return what is due and not done, in order: market data up to what the due cycles need, then the cycles."""
    cycles = progress.open_due()
    wanted = [time for time in (progress.market_due(), *(step.as_of for step in cycles)) if time is not None]
    if not wanted:
        return []
    market = market_steps(max(wanted), settings.start_for(max(wanted)), progress)
    return [*market, *deep_steps(max(wanted), progress), *cycles]


def ready_steps(steps: Sequence[Step]) -> list[Step]:
    """Return the steps that wait for none of the others.

    Everything but deep history waits for market data, and nothing waits for deep history; the forward ledger waits for
    the cycles up to its as-of, drift for the ledger, a report for all of them. A strategy or ML cycle waits for the
    earlier ones of its kind, until they are given up. The two kinds do not wait for each other, so that one that fails
    does not hold up the rest.
    """
    if steps and steps[0].job == MARKET_DATA:
        return [steps[0], *(step for step in steps if step.job == DEEP_HISTORY)]
    return [step for step in steps if not any(_precedes(other, step) for other in steps)]


def _precedes(other: Step, step: Step) -> bool:
    """Whether a step is made from what another, which has not succeeded, is to make."""
    if other.job == DEEP_HISTORY:
        return False
    if other.job == step.job:
        return step.job in IN_ORDER and other.as_of < step.as_of
    return _STAGE.get(other.job, 0) < _STAGE.get(step.job, 0) and other.as_of <= step.as_of


def give_up(steps: Sequence[Step], progress: WarehouseProgress, instance: dg.DagsterInstance) -> list[Step]:
    """Mark cycles that failed too often as failed, so that the report is made without them.

    Parameters
    ----------
    steps : sequence of Step
        Due steps.
    progress : WarehouseProgress
        Where the events are stored.
    instance : DagsterInstance
        Where failed runs are counted.

    Returns
    -------
    list of Step
        The cycles given up now.
    """
    cycles = [step for step in steps if step.job != MARKET_DATA]
    spent = [step for step in cycles if len(_attempts(step, instance)) >= MAX_ATTEMPTS and not _active(instance)]
    return progress.mark(spent, CycleState.FAILED, CONDUCTOR)


def request(step: Step, instance: dg.DagsterInstance, now: datetime) -> dg.RunRequest | dg.SkipReason:
    """Return the request for a step's next attempt, or the reason to wait.

    A step waits while any run of a plan is active, which preserves the order and prevents duplicate runs.

    Parameters
    ----------
    step : Step
        The step.
    instance : DagsterInstance
        Where runs are looked up.
    now : datetime
        Current time (UTC).

    Returns
    -------
    RunRequest or SkipReason
        For the sensor.
    """
    busy = _active(instance)
    if busy:
        return dg.SkipReason(f"{busy[0].tags[STEP_TAG]} is running; {step.run_key} is next")
    tried = _attempts(step, instance)
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


def _active(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return [run for run in instance.get_runs(dg.RunsFilter(statuses=_ACTIVE)) if STEP_TAG in run.tags]


def _attempts(step: Step, instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
    return instance.get_run_records(dg.RunsFilter(tags={STEP_TAG: step.run_key}))


def conductor(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor that requests the next due step once its predecessors have succeeded."""

    @dg.sensor(
        name="conductor",
        jobs=JOBS,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts what the schedules marked as due: market data first, deep history, then the cycles.",
    )
    def evaluate(
        context: dg.SensorEvaluationContext, warehouse: WarehouseResource, market: MarketResource
    ) -> dg.RunRequest | dg.SkipReason:
        close_dead_runs(context.instance)
        progress = WarehouseProgress(warehouse.open(), market.symbols, settings.universe, settings.deep_start)
        steps = open_steps(progress, settings)
        given_up = give_up(steps, progress, context.instance)
        waiting = [step for step in steps if step not in given_up]
        answers = [request(step, context.instance, datetime.now(UTC)) for step in ready_steps(waiting)]
        started = next((answer for answer in answers if isinstance(answer, dg.RunRequest)), None)
        return started or next(iter(answers), dg.SkipReason("nothing is due"))

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
