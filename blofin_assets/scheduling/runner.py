"""Executes one step of a plan as a real Dagster run in this process.

Belongs here: turning a `Step` into a run, its tags, its outcome. Does not belong here: what is due (`plan`), the
terminal (`cli`).
"""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from blofin_assets.shared.asset import STEP_TAG
from blofin_assets.shared.cadences import Step
from blofin_assets.shared.memory import give_back_memory
from blofin_resources.dagster_resources import AS_OF_TAG
from blofin_resources.processes import process_identity

LOCATION: Final = "blofin"
"""Name of the code location, as workspace.yaml has it."""

CONSOLE: Final[dict[str, Any]] = {"loggers": {"console": {}}}
"""Run configuration that selects the console logger of the definitions."""

Listener = Callable[[str, str], None]
"""Called when an asset or check begins and ends: (Dagster event type, step key)."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    run_id
        Dagster's id, which is in every row that the run wrote.
    errors
        One line for each asset or check that failed; empty if the run succeeded.
    interrupted
        Whether a signal ended it: whoever sent it wants no further step either.
    """

    run_id: str
    errors: tuple[str, ...]
    interrupted: bool = False


def step_tags(step: Step) -> dict[str, str]:
    """Return the tags of a step's run: its name, its as-of, and its range of keys, if any."""
    tags = {STEP_TAG: step.run_key, AS_OF_TAG: step.as_of.isoformat()}
    if step.first_key != step.last_key:
        tags["dagster/asset_partition_range_start"] = step.first_key
        tags["dagster/asset_partition_range_end"] = step.last_key
    return tags


_INTERRUPTIONS: Final = {"DagsterExecutionInterruptedError", "KeyboardInterrupt"}
"""What a signal raises in Python, and in a query."""


def execute(step: Step, job: dg.JobDefinition, instance: dg.DagsterInstance) -> Outcome:
    """Run a step to its end and return its outcome; failures inside the run are not raised.

    The run is created with the job's origin in the code location. Runs without one, such as those of
    `execute_in_process`, are missing from the UI's timeline and from the job's list of runs.

    Parameters
    ----------
    step : Step
        The step.
    job : JobDefinition
        Its job.
    instance : DagsterInstance
        Where the run is stored.

    Returns
    -------
    Outcome
        Success, errors and run id.
    """
    partition = job.get_tags_for_partition_key(step.first_key, None) if step.first_key == step.last_key else {}
    run = instance.create_run_for_job(
        job,
        run_config=CONSOLE,
        tags={**job.run_tags, **partition, **step_tags(step), **process_identity()},
        remote_job_origin=_origin().get_job_origin(job.name),
    )
    try:
        result = execute_run(InMemoryJob(job), run, instance)
    finally:
        give_back_memory()
    if result.success:
        return Outcome(result.run_id, ())
    return Outcome(result.run_id, _errors(result), interrupted=_interrupted(result))


def _origin() -> RemoteRepositoryOrigin:
    """Return the code location as the webserver and the daemon load it from workspace.yaml."""
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name="blofin_assets.definitions")
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=LOCATION)
    return RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME)


def console(listener: Listener) -> dg.LoggerDefinition:
    """Return a logger that calls `listener` for each step and prints nothing."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            meta = getattr(record, "dagster_meta", None)
            event: Any = meta.get("dagster_event") if isinstance(meta, dict) else None
            if event is not None and event.step_key is not None:
                listener(event.event_type_value, event.step_key)

    @dg.logger(config_schema={})
    def quiet(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("blofin.console")  # noqa: LOG001 - one logger a run, never shared
        logger.addHandler(Handler())
        return logger

    return quiet


def _interrupted(result: dg.JobExecutionResult) -> bool:
    """Return whether SIGINT or SIGTERM ended the run; Dagster turns both into a failure."""
    failures = (event.job_failure_data.error for event in result.all_events if event.is_failure and event.is_job_event)
    return any(error is not None and error.cls_name in _INTERRUPTIONS for error in failures)


def _errors(result: dg.ExecuteInProcessResult | dg.JobExecutionResult) -> tuple[str, ...]:
    lines = []
    told_by_check: set[str | None] = set()
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed and evaluation.blocking and evaluation.severity == dg.AssetCheckSeverity.ERROR:
                why = evaluation.description or "see its page in the UI"
                lines.append(f"{evaluation.asset_key.to_user_string()} fails {evaluation.check_name}: {why}")
                told_by_check.add(event.step_key)
        elif event.is_step_failure and event.step_key not in told_by_check:
            failure = event.step_failure_data
            description = failure.user_failure_data.description if failure.user_failure_data else None
            lines.append(
                f"{event.step_key}: {description or (failure.error.message.strip() if failure.error else 'failed')}"
            )
        elif event.is_failure and event.is_job_event and event.message and not lines:
            lines.append(event.message.splitlines()[0])
    return tuple(lines) or ("the run failed without an error message; see it in the UI",)
