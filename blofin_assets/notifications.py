"""What is worth telling people elsewhere: runs that failed, asset checks that failed.

Belongs here: finding what is new since the last look, the sensor `notify_failures`. Does not belong here: sending
(`blofin_resources.notifier`), acting on a failure (`sensors`).

Nothing is remembered by its place in a list or by a clock alone: a check's record gets its number when its run is
planned, and is judged much later. The cursor holds what was told within the last day; what is older is never told.
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
"""How old a failure may be and still be told: longer than a receiver is usually away."""

FIRST_LOOK: Final = timedelta(hours=1)
"""How far the first look goes back, so that turning the notifier on tells no old stories."""

MOST_CHECKS: Final = 50
"""Failed evaluations of one check that are looked at."""

_LINE: Final = 300

Told = dict[str, float]
"""Name of a failure that was told -> when it happened, seconds since 1970."""


class Failure(NamedTuple):
    """A failure: the name under which it is told once, when it happened (seconds since 1970), what to tell."""

    key: str
    at: float
    item: Item


def run_failures(instance: dg.DagsterInstance, after: datetime, ui: str) -> list[Failure]:
    """Return the runs that failed after a time, oldest first."""
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=after)
    found = []
    for record in instance.get_run_records(failed, ascending=True):
        run, at = record.dagster_run, record.end_time or record.update_timestamp.timestamp()
        if at < after.timestamp():
            continue
        keys = run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_end", "")
        name = f"run of {run.job_name} {keys}".strip()
        item = Item("run", name, _why(instance, run.run_id), _moment(at), f"{ui}/runs/{run.run_id}")
        found.append(Failure(f"run:{run.run_id}", at, item))
    return found


def check_failures(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey], after: datetime, ui: str
) -> list[Failure]:
    """Return the evaluations of checks that failed after a time, oldest first.

    A check that warns is told once a day while it goes on, since one of the market's own doing would come each hour;
    an error is told each time.
    """
    found = []
    for key in keys:
        records = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=MOST_CHECKS, status={AssetCheckExecutionRecordStatus.FAILED}
        )
        for record in records:
            seen = record.evaluation
            if seen is None or record.event is None or record.event.timestamp < after.timestamp():
                continue
            asset = key.asset_key.to_user_string()
            warns = seen.severity == dg.AssetCheckSeverity.WARN
            item = Item(
                "check",
                f"check {key.name} of {asset}{' (warning)' if warns else ''}",
                _short(seen.description or "its page says where"),
                _moment(record.event.timestamp),
                f"{ui}/assets/{'/'.join(key.asset_key.path)}?view=checks&checkDetail={key.name}",
            )
            name = f"check:{asset}:{key.name}" + ("" if warns else f":{record.id}")
            found.append(Failure(name, record.event.timestamp, item))
    return sorted(found, key=lambda failure: failure.at)


def untold(failures: Sequence[Failure], told: Mapping[str, float]) -> list[Failure]:
    """Return the failures that were not told yet, each name once."""
    first: dict[str, Failure] = {}
    for failure in failures:
        if failure.key not in told:
            first.setdefault(failure.key, failure)
    return list(first.values())


def title_of(failures: Sequence[Failure]) -> str:
    """Return the first line of a message."""
    counts = {kind: sum(each.item.kind == kind for each in failures) for kind in ("run", "check")}
    parts = [f"{count} failed {kind}{'s' if count > 1 else ''}" for kind, count in counts.items() if count]
    return f"Blofin research: {', '.join(parts)}"


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells failed runs and checks, once each, to the webhook in BLOFIN_NOTIFY_URL, if it is set.",
)
def notify_failures(context: dg.SensorEvaluationContext, notifier: NotifierResource) -> dg.SkipReason:
    """Tell what failed since the last look."""
    used = notifier.open()
    if not used.on:
        context.update_cursor("")  # turned on later, it begins with what is new then
        return dg.SkipReason("no notifier: BLOFIN_NOTIFY_URL is not set")
    now = datetime.now(UTC)
    told: Told = json.loads(context.cursor) if context.cursor else {}
    after = now - (LOOK_BACK if context.cursor else FIRST_LOOK)
    repository = context.repository_def
    keys = list(repository.asset_graph.asset_check_keys) if repository else []
    failures = untold(
        [
            *run_failures(context.instance, after, notifier.ui_url),
            *check_failures(context.instance, keys, after, notifier.ui_url),
        ],
        told,
    )
    problem = used.send(title_of(failures), [each.item for each in failures]) if failures else None
    if problem is not None:  # the cursor stays: told at the next look that finds somebody
        waiting = f"{problem}; {len(failures)} failures wait to be told"
        context.log.warning(waiting)
        return dg.SkipReason(waiting)
    kept = {key: at for key, at in told.items() if at >= (now - LOOK_BACK).timestamp()}
    context.update_cursor(json.dumps({**kept, **{each.key: each.at for each in failures}}))
    return dg.SkipReason(f"told: {', '.join(each.item.name for each in failures) or 'nothing'}")


def _why(instance: dg.DagsterInstance, run_id: str) -> str:
    """Return why a run failed, in one line: its first step's failure, else the run's own."""
    wanted = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    for entry in instance.all_logs(run_id, of_type=wanted):
        event = entry.dagster_event
        if event is None:
            continue
        if event.is_step_failure:
            failure = event.step_failure_data
            given = failure.user_failure_data.description if failure.user_failure_data else None
            told = given or (failure.error.message if failure.error else None)
            return _short(f"{event.step_key}: {told or 'failed'}")
        return _short(event.message or "failed")
    return "failed without saying why"


def _short(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")
