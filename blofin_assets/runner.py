"""Executes one step of a plan as a real Dagster run in this process.

Belongs here: turning a `Step` into a run, its tags, what comes back. Does not belong here: what is due (`plan`), the
terminal (`cli`).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from blofin_assets.plan import Step
from blofin_resources.dagster_resources import AS_OF_TAG
from blofin_resources.processes import process_identity

STEP_TAG: Final = "blofin/step"
"""Run tag: the step of a plan that the run executes."""

CONSOLE: Final[dict[str, Any]] = {"loggers": {"console": {}}}
"""Run configuration under which a run speaks to the definitions' own console logger."""

Listener = Callable[[str, str], None]
"""Told of each asset's or check's beginning and end: (Dagster event type, step key)."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    run_id
        Dagster's id, which every row that the run wrote carries.
    errors
        One line for each asset or check that failed; empty where the run succeeded.
    """

    run_id: str
    errors: tuple[str, ...]


def step_tags(step: Step) -> dict[str, str]:
    """Return the tags of a step's run: its name, its as-of, and its range of keys where it is one."""
    tags = {STEP_TAG: step.run_key, AS_OF_TAG: step.as_of.isoformat()}
    if step.first_key != step.last_key:
        tags["dagster/asset_partition_range_start"] = step.first_key
        tags["dagster/asset_partition_range_end"] = step.last_key
    return tags


def execute(step: Step, job: dg.JobDefinition, instance: dg.DagsterInstance) -> Outcome:
    """Run a step to its end and return how it ended; nothing is raised for a failure inside the run."""
    result = job.execute_in_process(
        instance=instance,
        partition_key=step.first_key if step.first_key == step.last_key else None,
        tags={**step_tags(step), **process_identity()},
        run_config=CONSOLE,
        raise_on_error=False,
    )
    return Outcome(result.run_id, () if result.success else _errors(result))


def console(listener: Listener) -> dg.LoggerDefinition:
    """Return a logger that tells `listener` of each step and prints nothing."""

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


def _errors(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    lines = []
    told_by_check: set[str | None] = set()
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if not found.passed and found.blocking and found.severity == dg.AssetCheckSeverity.ERROR:
                why = found.description or "its page in the UI says where"
                lines.append(f"{found.asset_key.to_user_string()} fails {found.check_name}: {why}")
                told_by_check.add(event.step_key)
        elif event.is_step_failure and event.step_key not in told_by_check:
            failure = event.step_failure_data
            told = failure.user_failure_data.description if failure.user_failure_data else None
            lines.append(f"{event.step_key}: {told or (failure.error.message.strip() if failure.error else 'failed')}")
        elif event.is_failure and event.is_job_event and event.message and not lines:
            lines.append(event.message.splitlines()[0])
    return tuple(lines) or ("the run failed without saying why; look at it in the UI",)
