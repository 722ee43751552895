"""The Dagster instance that belongs to a warehouse, and the runs in it whose process is gone.

Belongs here: where runs are stored, closing dead runs. Does not belong here: what is run (`plan`, `runner`), the
warehouse's own tables (`blofin_resources.warehouse`).

A killed run stays STARTED for ever and holds its place in the queue, because the default launcher cannot ask a
process for its health. So every run carries the process that executes it as tags.
"""

import os
import shutil
from pathlib import Path
from typing import Final

import dagster as dg

from blofin_resources.processes import PID, is_gone

PROJECT: Final = Path(__file__).resolve().parents[1]

_UNFINISHED: Final = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def prepare_home(warehouse: Path) -> Path:
    """Make the warehouse's Dagster home, set `DAGSTER_HOME` for this process and return it.

    The home is the absolute `<warehouse>/.dagster` with the project's dagster.yaml in it.
    """
    home = warehouse.resolve() / ".dagster"
    home.mkdir(parents=True, exist_ok=True)
    source, target = PROJECT / "dagster.yaml", home / "dagster.yaml"
    if not target.exists() or target.read_bytes() != source.read_bytes():
        partial = target.with_suffix(f".{os.getpid()}")
        shutil.copyfile(source, partial)
        partial.replace(target)
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the unfinished runs of this host whose process is gone as failed, and return their ids.

    Runs of other hosts, and runs that carry no process yet, are left to Dagster's run monitoring.
    """
    records = instance.get_run_records(dg.RunsFilter(statuses=_UNFINISHED))
    dead = [record.dagster_run for record in records if is_gone(record.dagster_run.tags)]
    for run in dead:
        instance.report_run_failed(run, f"process {run.tags[PID]} that executed this run is gone")
    return [run.run_id for run in dead]
