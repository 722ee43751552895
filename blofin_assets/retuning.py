"""From a failed drift check to a run that does something about it: once each, not too often, with the reason.

Belongs here: the sensor `retune_on_drift` and what it decides. Does not belong here: the checks (`drift_checks`), what
a run does (`assets.retuning`).

A failed evaluation is named by the run that made it and its record, so that it starts one run, whatever the sensor
remembers. Who was asked for lately, and how many of one night, is read from the runs themselves.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from blofin_assets.assets.retuning import REQUEST_TAG
from blofin_assets.drift_checks import CHECKED, DRIFTED
from blofin_assets.jobs import RETUNE, RETUNE_JOB
from blofin_assets.partitions import day_start

REASON_TAG: Final = "blofin/reason"
"""Run tag: why, in words."""

COOL_DOWN: Final = timedelta(days=3)
"""Nights in which the same strategy or model is not asked for again: a challenger takes the exam of the next cycle."""
MOST_A_NIGHT: Final = 4
"""Strategies and models that the checks of one night may set off, the surest first."""
STALE: Final = timedelta(days=3)
"""A failure this much older than the latest is no news."""
KINDS: Final = ("strategy", "model")
"""What can be tuned or trained anew; an ensemble is weighed anew in every cycle."""

MAX_ATTEMPTS: Final = 3
"""Runs of one request, where they fail or are killed, before it is given up."""

_RECORDS: Final = 20
_RUNS: Final = 100
_LONGEST: Final = 600


@dataclass(frozen=True)
class Request:
    """What one failed evaluation asks for.

    Attributes
    ----------
    key : str
        `<run of the check>:<its record>`.
    night : str
        Key of the night.
    kind : str
        strategy or model.
    drifted : tuple of dict
        Rows of `research.drift` in short, the surest first.
    reason : str
        What the check said.
    """

    key: str
    night: str
    kind: str
    drifted: tuple[dict[str, Any], ...]
    reason: str

    def to_json(self) -> str:
        """Return the request as a tag holds it."""
        told = [{name: row[name] for name in ("name", "version", "reason")} for row in self.drifted]
        return json.dumps({"request": self.key, "kind": self.kind, "drifted": told}, sort_keys=True)


def failures(instance: dg.DagsterInstance) -> list[Request]:
    """Return what the failed drift checks ask for: the oldest night first, and of a night what is surest."""
    found = []
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
            seen = record.evaluation
            if run is None or seen is None or DRIFTED not in seen.metadata:
                continue
            rows = seen.metadata[DRIFTED].value
            night = run.tags["dagster/partition"]
            key = f"{record.run_id}:{record.id}"
            found.append(Request(key, night, kind, tuple(rows), seen.description or ""))  # type: ignore[arg-type]  # a JSON list
    latest = max((each.night for each in found), default="")
    fresh = [each for each in found if day_start(latest) - day_start(each.night) < STALE]
    return sorted(last_nights(fresh), key=lambda each: (each.night, _doubt(each), each.kind, each.key))


def last_nights(found: Sequence[Request]) -> list[Request]:
    """Return the requests with each name in the last of its nights alone: what an earlier asks for may be over."""
    last: dict[tuple[str, str], str] = {}
    for each in found:
        for row in each.drifted:
            last[each.kind, row["name"]] = max(each.night, last.get((each.kind, row["name"]), ""))
    kept = (
        replace(each, drifted=tuple(row for row in each.drifted if last[each.kind, row["name"]] == each.night))
        for each in found
    )
    return [each for each in kept if each.drifted]


def _doubt(asked: Request) -> tuple[float, float]:
    """Return how likely the surest of a request is to be chance: q, and p where they are equal."""
    return asked.drifted[0]["q"], asked.drifted[0]["p"]


def choose(asked: Sequence[Request], before: Iterable["Asked"]) -> list[Request]:
    """Return the requests that become runs, each with those names that may be acted on.

    Parameters
    ----------
    asked : sequence of Request
        Failed evaluations, oldest first.
    before : iterable of (key, night, request)
        Earlier runs' requests, as their tags hold them.
    """
    taken: list[tuple[str, str, datetime]] = []
    known = set()
    for key, when, request in before:
        known.add(key)
        taken += [(request["kind"], row["name"], day_start(when)) for row in request["drifted"]]
    chosen = []
    for each in asked:
        if each.key in known:
            continue
        night = day_start(each.night)
        rested = {(k, name) for k, name, at in taken if abs(night - at) < COOL_DOWN}
        left = MOST_A_NIGHT - sum(at == night for _, _, at in taken)
        names: dict[str, dict[str, Any]] = {}
        for row in each.drifted:
            if (each.kind, row["name"]) not in rested:
                names.setdefault(row["name"], row)
        rows = tuple(names.values())[: max(left, 0)]
        if rows:
            chosen.append(Request(each.key, each.night, each.kind, rows, each.reason))
            taken += [(each.kind, row["name"], night) for row in rows]
    return chosen


Asked = tuple[str, str, dict[str, Any]]
"""Key, night and request of an earlier run, as its tags hold them."""


def requested(instance: dg.DagsterInstance) -> tuple[list[Asked], Counter[str]]:
    """Return the requests that earlier runs met, are meeting or gave up, and how often each of all failed."""
    runs = instance.get_runs(dg.RunsFilter(job_name=RETUNE), limit=_RUNS)
    return standing(
        (run.status == dg.DagsterRunStatus.FAILURE, run.tags["dagster/partition"], json.loads(run.tags[REQUEST_TAG]))
        for run in runs
        if REQUEST_TAG in run.tags
    )


def standing(runs: Iterable[tuple[bool, str, dict[str, Any]]]) -> tuple[list[Asked], Counter[str]]:
    """Return the requests that need no further run, and how often each of all failed.

    Parameters
    ----------
    runs : iterable of (failed, night, request)
        Earlier runs; one that was killed counts as failed once it was closed.
    """
    seen = list(runs)
    failed = Counter(request["request"] for bad, _, request in seen if bad)
    return [
        (request["request"], night, request)
        for bad, night, request in seen
        if not bad or failed[request["request"]] >= MAX_ATTEMPTS
    ], failed


def run_request(asked: Request, failed: int = 0) -> dg.RunRequest:
    """Return the run that a request becomes: it can be started once, and again after each time that it failed."""
    return dg.RunRequest(
        run_key=f"{asked.key}#{failed + 1}" if failed else asked.key,
        partition_key=asked.night,
        tags={REQUEST_TAG: asked.to_json(), REASON_TAG: asked.reason[:_LONGEST]},
    )


@dg.sensor(
    job=RETUNE_JOB,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        f"Starts a run for what fails its drift check: each failure once, the same name at most every "
        f"{COOL_DOWN.days} days, at most {MOST_A_NIGHT} a night."
    ),
)
def retune_on_drift(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Start what the failed drift checks ask for."""
    before, failed = requested(context.instance)
    chosen = choose(failures(context.instance), before)
    return [run_request(each, failed[each.key]) for each in chosen] or dg.SkipReason("no drift that is new")
