"""The project's definitions on a shortened grid, for `dagster dev`: days of a stored market pass in minutes.

Belongs here: a clock that runs fast and schedules that tick by it. Does not belong here: anything that is scheduled.

    BLOFIN_TEST_BEGIN=2026-02-17T00:00:00+00:00 BLOFIN_TEST_STARTED=$(date -u +%FT%T+00:00) BLOFIN_TEST_SPEED=160 \
        PYTHONPATH=.:tests .venv/bin/dagster dev -m support.shortened

with the market, the warehouse and DAGSTER_HOME in the environment as always. The market must hold what the clock will
reach: an archive, or the sample market in its past.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg

from blofin_assets.definitions import build_defs
from blofin_assets.shared.cadences import MARKET_DATA
from blofin_resources.dagster_resources import ClockResource

SPEED: Final = float(os.environ.get("BLOFIN_TEST_SPEED", "160"))
"""Seconds of the market that pass in a second: 160 is a day in nine minutes."""
BEGIN: Final = os.environ.get("BLOFIN_TEST_BEGIN", "2026-02-17T00:00:00+00:00")
STARTED: Final = os.environ["BLOFIN_TEST_STARTED"]
"""Given, not read off a clock: each run is a process of its own, and all must agree."""
_CRON: Final = {f"{MARKET_DATA}_schedule": "*/4 * * * *", "maintenance_schedule": "*/9 * * * *"}


class FastClock(ClockResource):
    """A clock that showed `begin` when it was `started`, and runs `speed` times as fast as others."""

    begin: str
    started: str
    speed: float

    def now(self) -> datetime:
        """Return the time that it shows."""
        passed: timedelta = datetime.now(UTC) - datetime.fromisoformat(self.started)
        return datetime.fromisoformat(self.begin) + passed * self.speed


def shortened(schedule: dg.ScheduleDefinition, clock: FastClock, resources: dict[str, Any]) -> dg.ScheduleDefinition:
    """Return a schedule that does each minute what another does at its hours, by the fast clock."""

    @dg.schedule(
        name=schedule.name,
        cron_schedule=_CRON.get(schedule.name, "* * * * *"),
        job_name=schedule.job_name,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        execution_timezone="UTC",
        description=schedule.description,
    )
    def tick(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        with dg.build_schedule_context(
            instance=context.instance, scheduled_execution_time=clock.now(), resources=resources
        ) as inner:
            data = schedule.evaluate_tick(inner)
        yield from data.run_requests or [dg.SkipReason(data.skip_message)]

    return tick


def short_defs() -> dg.Definitions:
    """Return the definitions under the fast clock."""
    clock = FastClock(begin=BEGIN, started=STARTED, speed=SPEED)
    usual = build_defs(resources={"clock": clock})
    resources = dict(usual.resources or {})
    return dg.Definitions(
        assets=usual.assets,
        asset_checks=usual.asset_checks,
        jobs=usual.jobs,
        schedules=[shortened(each, clock, resources) for each in usual.schedules or ()],  # type: ignore[arg-type]  # all are plain
        sensors=usual.sensors,
        resources=resources,
        executor=usual.executor,
    )


defs = short_defs()
