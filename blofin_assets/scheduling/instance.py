"""The Dagster instance of a warehouse, and its runs whose process has died.

Belongs here: the instance, closing dead runs. Does not belong here: which runs start (`plan`, `runner`), the
warehouse's own tables (`blofin_resources.warehouse`).

A killed run stays STARTED for ever and keeps its slot in the queue, because the default launcher has no health check.
So every run carries the process that executes it as tags.
"""

import os
import shutil
from pathlib import Path
from typing import Final

import dagster as dg

from blofin_assets.scheduling.dagster_files import ease_dagster_files
from blofin_assets.shared.code_version import root_file
from blofin_resources.processes import HOST, PID, PROCESS_START, is_gone

_UNFINISHED: Final = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def prepare_home(warehouse: Path) -> Path:
    """Create the warehouse's Dagster home, set `DAGSTER_HOME` for this process and return it.

    The home is the absolute `<warehouse>/.dagster` with the project's dagster.yaml in it.
    """
    ease_dagster_files()
    home = warehouse.resolve() / ".dagster"
    home.mkdir(parents=True, exist_ok=True)
    source, target = root_file("dagster.yaml"), home / "dagster.yaml"
    if not target.exists() or target.read_bytes() != source.read_bytes():
        partial = target.with_suffix(f".{os.getpid()}")
        shutil.copyfile(source, partial)
        partial.replace(target)
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the unfinished runs of this host whose process has died as failed, and return their ids.

    Runs of other hosts, and runs without a process tag of their own, are left to Dagster's run monitoring.
    """
    runs = [record.dagster_run for record in instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED))]
    dead = [run for run in runs if is_gone(run.tags) and not _inherited(run, instance)]
    for run in dead:
        instance.report_run_failed(run, f"process {run.tags[PID]} that executed this run is gone")
    return [run.run_id for run in dead]


def _inherited(run: dg.DagsterRun, instance: dg.DagsterInstance) -> bool:
    """Whether the process tag of a run belongs to the run that it repeats: the UI copies tags."""
    parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    return parent is not None and all(run.tags.get(tag) == parent.tags.get(tag) for tag in (PID, PROCESS_START, HOST))
