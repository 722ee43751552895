"""Notify people of failed runs and failed asset checks.

Belongs here: finding new failures, the sensor `notify_failures`. Does not belong here: sending
(`blofin_resources.notifier`), responding to a failure (`drift.sensor`).

Failures are deduplicated by id; neither list position nor timestamp is a reliable key, because a check's record gets
its number when its run is planned and its result much later. The cursor holds the failures reported within the last
day; older ones are never reported.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from blofin_resources.dagster_resources import NotifierResource
from blofin_resources.notifier import Item

LOOK_BACK: Final = timedelta(days=1)
"""Largest age of a failure that is still reported: longer than a receiver is usually offline."""

FIRST_LOOK: Final = timedelta(hours=1)
"""Reach of the first evaluation, so that turning the notifier on reports no old failures."""

MOST_CHECKS: Final = 50
"""Number of failed evaluations read per check."""

_LINE: Final = 300

Reported = dict[str, float]
"""Id of each reported failure -> when it happened, seconds since 1970."""


class Failure(NamedTuple):
    """A failure: its id, when it happened (seconds since 1970), and its message."""

    key: str
    at: float
    item: Item


def run_failures(instance: dg.DagsterInstance, after: datetime, ui: str) -> list[Failure]:
    """Return the runs that failed after a time, oldest first.

    Parameters
    ----------
    instance : DagsterInstance
        Where runs are looked up.
    after : datetime
        Earlier failures are ignored (UTC).
    ui : str
        Address of Dagster's UI, for links.

    Returns
    -------
    list of Failure
        One per run.
    """
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=after)
    failures = []
    for record in instance.get_run_records(failed, ascending=True):
        run, at = record.dagster_run, record.end_time or record.update_timestamp.timestamp()
        if at < after.timestamp():
            continue
        keys = run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_end", "")
        name = f"run of {run.job_name} {keys}".strip()
        item = Item("run", name, _why(instance, run.run_id), _moment(at), f"{ui}/runs/{run.run_id}")
        failures.append(Failure(f"run:{run.run_id}", at, item))
    return failures


def check_failures(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey], after: datetime, ui: str
) -> list[Failure]:
    """Return the failed evaluations of checks after a time, oldest first.

    A check with severity WARN is reported once a day while it persists, because one about the market itself would fail
    every hour; an ERROR is reported each time.

    Parameters
    ----------
    instance : DagsterInstance
        Where evaluations are looked up.
    keys : sequence of AssetCheckKey
        Checks to look up.
    after : datetime
        Earlier failures are ignored (UTC).
    ui : str
        Address of Dagster's UI, for links.

    Returns
    -------
    list of Failure
        One per evaluation.
    """
    failures = []
    for key in keys:
        records = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=MOST_CHECKS, status={AssetCheckExecutionRecordStatus.FAILED}
        )
        for record in records:
            evaluation = record.evaluation
            if evaluation is None or record.event is None or record.event.timestamp < after.timestamp():
                continue
            asset = key.asset_key.to_user_string()
            warns = evaluation.severity == dg.AssetCheckSeverity.WARN
            item = Item(
                "check",
                f"check {key.name} of {asset}{' (warning)' if warns else ''}",
                _short(evaluation.description or "see its page"),
                _moment(record.event.timestamp),
                f"{ui}/assets/{'/'.join(key.asset_key.path)}?view=checks&checkDetail={key.name}",
            )
            name = f"check:{asset}:{key.name}" + ("" if warns else f":{record.id}")
            failures.append(Failure(name, record.event.timestamp, item))
    return sorted(failures, key=lambda failure: failure.at)


def unreported(failures: Sequence[Failure], reported: Mapping[str, float]) -> list[Failure]:
    """Return the failures that have not been reported yet, each id once."""
    first: dict[str, Failure] = {}
    for failure in failures:
        if failure.key not in reported:
            first.setdefault(failure.key, failure)
    return list(first.values())


def title_of(failures: Sequence[Failure]) -> str:
    """Return the first line of a message."""
    counts = {kind: sum(failure.item.kind == kind for failure in failures) for kind in ("run", "check")}
    parts = [f"{count} failed {kind}{'s' if count > 1 else ''}" for kind, count in counts.items() if count]
    return f"Blofin research: {', '.join(parts)}"


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Sends each failed run and check once to the webhook in BLOFIN_NOTIFY_URL, if it is set.",
)
def notify_failures(context: dg.SensorEvaluationContext, notifier: NotifierResource) -> dg.SkipReason:
    """Report failures since the last evaluation."""
    used = notifier.open()
    if not used.on:
        context.update_cursor("")  # if the notifier is turned on later, it reports only newer failures
        return dg.SkipReason("no notifier: BLOFIN_NOTIFY_URL is not set")
    now = datetime.now(UTC)
    reported: Reported = json.loads(context.cursor) if context.cursor else {}
    after = now - (LOOK_BACK if context.cursor else FIRST_LOOK)
    repository = context.repository_def
    keys = list(repository.asset_graph.asset_check_keys) if repository else []
    failures = unreported(
        [
            *run_failures(context.instance, after, notifier.ui_url),
            *check_failures(context.instance, keys, after, notifier.ui_url),
        ],
        reported,
    )
    problem = used.send(title_of(failures), [failure.item for failure in failures]) if failures else None
    if problem is not None:  # the cursor stays: reported by the next evaluation that reaches a receiver
        waiting = f"{problem}; {len(failures)} failures wait to be sent"
        context.log.warning(waiting)
        return dg.SkipReason(waiting)
    kept = {key: at for key, at in reported.items() if at >= (now - LOOK_BACK).timestamp()}
    context.update_cursor(json.dumps({**kept, **{failure.key: failure.at for failure in failures}}))
    return dg.SkipReason(f"sent: {', '.join(failure.item.name for failure in failures) or 'nothing'}")


def _why(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return why a run failed, in one line: its first step's failure, else the run's own."""
    wanted = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    for entry in instance.all_logs(run_id, of_type=wanted):
        event = entry.dagster_event
        if event is None:
            continue
        if event.is_step_failure:
            failure = event.step_failure_data
            description = failure.user_failure_data.description if failure.user_failure_data else None
            message = description or (failure.error.message if failure.error else None)
            return _short(f"{event.step_key}: {message or 'failed'}")
        return _short(event.message or "failed")
    return "failed without an error message"


def _short(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")
