"""A daemon with a moved clock: it ticks schedules and sensors and runs what they request, as Dagster's daemon does.

Belongs here: driving real definitions through time, and counting what happened. Does not belong here: what ought to
happen. Each run is a real run on a real instance; only the waiting is left out.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg
from support.platform import Platform

from blofin_assets.definitions import build_defs
from blofin_assets.scheduling.runner import CONSOLE, console
from blofin_assets.shared.asset import STEP_TAG
from blofin_resources.dagster_resources import ClockResource
from blofin_resources.processes import process_identity

NOW: Final = "BLOFIN_TEST_NOW"
"""Environment variable that the clock of the definitions reads at each use."""

ROUNDS: Final = 60
"""Most rounds of the sensors at one moment: more means that they never come to rest."""


@dataclass(frozen=True)
class Done:
    """One run that the daemon started."""

    at: datetime
    job: str
    key: str
    tags: dict[str, str]
    success: bool
    seconds: float
    run_id: str


@dataclass
class Clockwork:
    """A platform under a clock that is moved by hand.

    Attributes
    ----------
    platform : Platform
        Warehouse, instance and settings.
    defs : Definitions
        Those of the platform, under the moved clock.
    runs : list of Done
        Every run that was started, in order.
    """

    platform: Platform
    defs: dg.Definitions
    runs: list[Done] = field(default_factory=list)
    _cursors: dict[str, str | None] = field(default_factory=dict)
    _asked: set[tuple[str, str]] = field(default_factory=set)

    def move(self, moment: datetime) -> None:
        """Set the clock."""
        os.environ[NOW] = moment.isoformat()

    def tick(self, moment: datetime) -> None:
        """Move the clock, tick every schedule that is due at this minute, and let the sensors come to rest."""
        self.move(moment)
        for schedule in self.defs.schedules or ():
            assert isinstance(schedule, dg.ScheduleDefinition)
            if fires(str(schedule.cron_schedule), moment):
                self._tick(schedule, moment)
        self.settle(moment)

    def settle(self, moment: datetime) -> None:
        """Evaluate the sensors until none of them requests anything, running each request."""
        for _ in range(ROUNDS):
            asked = [self._evaluate(name, moment) for name in self._sensors()]
            if not any(asked):
                return
        msg = f"the sensors do not come to rest at {moment:%Y-%m-%dT%H:%M}: {[run.job for run in self.runs[-5:]]}"
        raise AssertionError(msg)

    def count(self, job: str, *, success: bool = True) -> Counter[str]:
        """Return how often each key of a job ran to an end of this kind."""
        return Counter(run.key for run in self.runs if run.job == job and run.success is success)

    def store(self, path: Path, through: datetime) -> None:
        """Write down what the daemon knows at rest, so that another process can go on from this moment."""
        told = {
            "through": through.isoformat(),
            "runs": [asdict(run) | {"at": run.at.isoformat()} for run in self.runs],
            "cursors": self._cursors,
            "asked": sorted(self._asked),
        }
        part = path.with_suffix(".part")
        part.write_text(json.dumps(told), encoding="utf-8")
        part.replace(path)

    def resume(self, path: Path) -> datetime:
        """Go on from what another process wrote down; return the moment up to which it had come."""
        told = json.loads(path.read_text(encoding="utf-8"))
        self.runs = [Done(**{**run, "at": datetime.fromisoformat(run["at"])}) for run in told["runs"]]
        self._cursors = told["cursors"]
        self._asked = {(origin, key) for origin, key in told["asked"]}
        return datetime.fromisoformat(told["through"])

    def _sensors(self) -> list[str]:
        return [sensor.name for sensor in self.defs.sensors or ()]

    def _tick(self, schedule: dg.ScheduleDefinition, moment: datetime) -> None:
        with dg.build_schedule_context(
            instance=self.platform.instance, scheduled_execution_time=moment, resources=dict(self.defs.resources or {})
        ) as context:
            requests = schedule.evaluate_tick(context).run_requests or []
        for request in requests:
            self._start(schedule.name, request, schedule.job_name, moment)

    def _evaluate(self, name: str, moment: datetime) -> bool:
        sensor = self.defs.resolve_sensor_def(name)
        with dg.build_sensor_context(
            instance=self.platform.instance,
            repository_def=self.defs.get_repository_def(),
            cursor=self._cursors.get(name),
            resources=dict(self.defs.resources or {}),
            sensor_name=name,
        ) as context:
            data = sensor.evaluate_tick(context)
        self._cursors[name] = data.cursor
        only = sensor.targets[0].job_name if len(sensor.targets) == 1 else None
        started = [self._start(name, request, request.job_name or only, moment) for request in data.run_requests or []]
        return any(started)

    def _start(self, origin: str, request: dg.RunRequest, job_name: str | None, moment: datetime) -> bool:
        """Run a request, unless its key was asked for before, as the daemon would not either."""
        if request.run_key is not None and (origin, request.run_key) in self._asked:
            return False
        self._asked.add((origin, str(request.run_key)))
        assert job_name is not None
        begun = time.perf_counter()
        result = self.defs.resolve_job_def(job_name).execute_in_process(
            instance=self.platform.instance,
            partition_key=request.partition_key,
            tags={**request.tags, **process_identity()},
            run_config=dict(request.run_config) or CONSOLE,
            asset_selection=list(request.asset_selection) if request.asset_selection else None,
            raise_on_error=False,
        )
        key = request.partition_key or request.tags.get(STEP_TAG, request.run_key or "")
        self.runs.append(
            Done(moment, job_name, key, dict(request.tags), result.success, time.perf_counter() - begun, result.run_id)
        )
        return True


class _MovedClock(ClockResource):
    """The clock that the environment moves."""

    def now(self) -> datetime:
        return datetime.fromisoformat(os.environ[NOW]) if NOW in os.environ else super().now()


@contextmanager
def clockwork(platform: Platform, **resources: Any) -> Iterator[Clockwork]:
    """Give a platform's daemon under a clock that is moved by hand."""
    defs = build_defs(
        platform.settings,
        resources={"clock": _MovedClock(), **resources},
        console=console(lambda *_: None),
    )
    before = os.environ.get(NOW)
    try:
        yield Clockwork(platform, defs)
    finally:
        os.environ.pop(NOW, None)
        if before is not None:
            os.environ[NOW] = before


def fires(cron: str, moment: datetime) -> bool:
    """Return whether a cron expression of minutes and hours fires at a minute of a day."""
    minute, hour, *rest = cron.split()
    assert rest == ["*", "*", "*"], f"{cron}: this clockwork knows minutes and hours alone"
    return _matches(minute, moment.minute) and _matches(hour, moment.hour)


def moments(start: datetime, end: datetime, every: timedelta) -> Iterator[datetime]:
    """Give start, start + every, ... up to and including end."""
    assert start.tzinfo == UTC
    moment = start
    while moment <= end:
        yield moment
        moment += every


def _matches(part: str, value: int) -> bool:
    return part == "*" or value in {int(each) for each in part.split(",")}
