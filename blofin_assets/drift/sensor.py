"""The sensor that starts a run for each failed drift check.

Belongs here: the sensor `retune_on_drift` and its decisions. Does not belong here: the checks (`checks`), the work of
the run (`retuning`).

The key of a request is the run and the record of the failed evaluation, so each failure starts one run, whatever the
state of the sensor. Recent requests for a name, and the number for one date, are read from the tags of earlier runs.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from blofin_assets.drift.checks import CHECKED, DRIFTED
from blofin_assets.drift.retuning import REQUEST_TAG
from blofin_assets.scheduling.jobs import RETUNE, RETUNE_JOB
from blofin_assets.shared.partitions import day_start
from blofin_assets.shared.vocabulary import Kind

REASON_TAG: Final = "blofin/reason"
"""Run tag: the reason, in words."""

COOL_DOWN: Final = timedelta(days=3)
"""Time without a further request for the same strategy or model: a challenger waits for the next holdout."""
MOST_A_DAY: Final = 4
"""Largest number of strategies and models per evaluation date, the most significant first."""
STALE: Final = timedelta(days=3)
"""A failure this much older than the latest is ignored."""
KINDS: Final = (Kind.STRATEGY, Kind.MODEL, Kind.BOOK)
"""Kinds that can be tuned or retrained; ensembles are fitted in every cycle anyway."""

MAX_ATTEMPTS: Final = 3
"""Runs of one request, if they fail or are killed, before it is abandoned."""

_RECORDS: Final = 20
_RUNS: Final = 100
_LONGEST: Final = 600


@dataclass(frozen=True)
class Request:
    """The request of one failed evaluation.

    Attributes
    ----------
    key : str
        `<run of the check>:<its record>`.
    day : str
        Partition key of the evaluation date.
    kind : str
        strategy or model.
    drifted : tuple of dict
        Rows of `research.drift_tests` in short, the most significant first.
    reason : str
        Description of the check result.
    """

    key: str
    day: str
    kind: str
    drifted: tuple[dict[str, Any], ...]
    reason: str

    def to_json(self) -> str:
        """Return the request as a tag holds it."""
        rows = [{name: row[name] for name in ("name", "version", "reason")} for row in self.drifted]
        return json.dumps({"request": self.key, "kind": self.kind, "drifted": rows}, sort_keys=True)


def failures(instance: dg.DagsterInstance) -> list[Request]:
    """Return the requests of failed drift checks, oldest date first, most significant first within a date."""
    requests = []
    for check, (kind, _) in CHECKED.items():
        if kind not in KINDS:
            continue
        records = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("drift_tests"), check),
            limit=_RECORDS,
            status={AssetCheckExecutionRecordStatus.FAILED},
        )
        for record in records:
            run = instance.get_run_by_id(record.run_id)
            evaluation = record.evaluation
            if run is None or evaluation is None or DRIFTED not in evaluation.metadata:
                continue
            rows = evaluation.metadata[DRIFTED].value
            day = run.tags["dagster/partition"]
            key = f"{record.run_id}:{record.id}"
            requests.append(Request(key, day, kind, tuple(rows), evaluation.description or ""))  # type: ignore[arg-type]  # a JSON list
    latest = max((request.day for request in requests), default="")
    fresh = [request for request in requests if day_start(latest) - day_start(request.day) < STALE]
    return sorted(
        latest_requests(fresh), key=lambda request: (request.day, _significance(request), request.kind, request.key)
    )


def latest_requests(requests: Sequence[Request]) -> list[Request]:
    """Keep each name only in the latest request that contains it: an earlier drift may be over."""
    last: dict[tuple[str, str], str] = {}
    for request in requests:
        for row in request.drifted:
            last[request.kind, row["name"]] = max(request.day, last.get((request.kind, row["name"]), ""))
    kept = (
        replace(
            request, drifted=tuple(row for row in request.drifted if last[request.kind, row["name"]] == request.day)
        )
        for request in requests
    )
    return [request for request in kept if request.drifted]


def _significance(request: Request) -> tuple[float, float]:
    """Sort key: q-value of the most significant result, ties broken by p-value."""
    return request.drifted[0]["q"], request.drifted[0]["p"]


def choose(requests: Sequence[Request], before: Iterable["EarlierRequest"]) -> list[Request]:
    """Return the requests to run, reduced to the names that may be acted on.

    Parameters
    ----------
    requests : sequence of Request
        Failed evaluations, oldest first.
    before : iterable of (key, day, request)
        Requests of earlier runs, from their tags.

    Returns
    -------
    list of Request
        Without names that are cooling down, and within the limit per evaluation date.
    """
    taken: list[tuple[str, str, datetime]] = []
    earlier = set()
    for key, when, request in before:
        earlier.add(key)
        taken += [(request["kind"], row["name"], day_start(when)) for row in request["drifted"]]
    chosen = []
    for failure in requests:
        if failure.key in earlier:
            continue
        day = day_start(failure.day)
        rested = {(k, name) for k, name, at in taken if abs(day - at) < COOL_DOWN}
        left = MOST_A_DAY - sum(at == day for _, _, at in taken)
        names: dict[str, dict[str, Any]] = {}
        for row in failure.drifted:
            if (failure.kind, row["name"]) not in rested:
                names.setdefault(row["name"], row)
        rows = tuple(names.values())[: max(left, 0)]
        if rows:
            chosen.append(Request(failure.key, failure.day, failure.kind, rows, failure.reason))
            taken += [(failure.kind, row["name"], day) for row in rows]
    return chosen


EarlierRequest = tuple[str, str, dict[str, Any]]
"""Key, day and request of an earlier run, from its tags."""


def requested(instance: dg.DagsterInstance) -> tuple[list[EarlierRequest], Counter[str]]:
    """Return the requests that are done, running or abandoned, and how often each request failed."""
    runs = instance.get_runs(dg.RunsFilter(job_name=RETUNE), limit=_RUNS)
    return settled_requests(
        (run.status == dg.DagsterRunStatus.FAILURE, run.tags["dagster/partition"], json.loads(run.tags[REQUEST_TAG]))
        for run in runs
        if REQUEST_TAG in run.tags
    )


def settled_requests(runs: Iterable[tuple[bool, str, dict[str, Any]]]) -> tuple[list[EarlierRequest], Counter[str]]:
    """Return the requests that need no further run, and how often each request failed.

    Parameters
    ----------
    runs : iterable of (failed, day, request)
        Earlier runs; a killed run counts as failed once Dagster has closed it.
    """
    earlier = list(runs)
    failed = Counter(request["request"] for bad, _, request in earlier if bad)
    return [
        (request["request"], day, request)
        for bad, day, request in earlier
        if not bad or failed[request["request"]] >= MAX_ATTEMPTS
    ], failed


def run_request(request: Request, failed: int = 0) -> dg.RunRequest:
    """Return the run of a request: it can be started once, and again after each failure."""
    return dg.RunRequest(
        run_key=f"{request.key}#{failed + 1}" if failed else request.key,
        partition_key=request.day,
        tags={REQUEST_TAG: request.to_json(), REASON_TAG: request.reason[:_LONGEST]},
    )


@dg.sensor(
    job=RETUNE_JOB,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        f"Starts a run for each failed drift check: each failure once, the same name at most every "
        f"{COOL_DOWN.days} days, at most {MOST_A_DAY} a day."
    ),
)
def retune_on_drift(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Start the runs that failed drift checks request."""
    before, failed = requested(context.instance)
    chosen = choose(failures(context.instance), before)
    return [run_request(request, failed[request.key]) for request in chosen] or dg.SkipReason("no new drift")
