"""Whoever may start a run chooses what is run and for which time, not where, at what cost or whose data."""

from typing import Any

import dagster as dg
import pytest
from support.platform import Platform

from blofin_resources.dagster_resources import AS_OF_TAG

CHANGES: dict[str, dict[str, Any]] = {
    "warehouse": {"folder": "/nowhere/else", "market": "sample", "own_catalog": False},
    "claude": {"budget_usd": 1e6},
    "market": {"api_url": "http://127.0.0.1:9", "market": "blofin", "archive": "/etc", "seed": 1, "symbols": ["A-B"]},
    "clock": {"fixed": "2031-01-01T00:00:00+00:00"},
    "evolution": {"search_budget": 10**9},
    "notifier": {"ui_url": "http://evil.example"},
    "io_manager": {"base_dir": "/nowhere/else"},
}


def test_no_run_configuration_changes_a_setting(platform: Platform) -> None:
    jobs = platform.defs.get_repository_def().get_all_jobs()
    seen = set()
    for job in jobs:
        dg.validate_run_config(job)
        for name in job.resource_defs:
            seen.add(name)
            for field, value in CHANGES[name].items():
                config = {"resources": {name: {"config": {field: value}}}}
                with pytest.raises(dg.DagsterInvalidConfigError, match=r"Received unexpected config entry"):
                    dg.validate_run_config(job, config)
    assert seen == CHANGES.keys()
    with pytest.raises(dg.DagsterInvalidConfigError, match="unexpected config entr"):
        platform.defs.resolve_job_def("maintenance").execute_in_process(
            instance=platform.instance, run_config={"resources": {"warehouse": {"config": CHANGES["warehouse"]}}}
        )


@pytest.mark.slow
def test_a_run_still_gets_the_settings_and_its_lock(platform: Platform) -> None:
    job = platform.defs.resolve_job_def("maintenance")
    done = job.execute_in_process(instance=platform.instance, tags={AS_OF_TAG: "2026-03-13T00:00:00+00:00"})
    assert done.success
    run = platform.instance.get_run_by_id(done.run_id)
    assert run is not None
    assert run.tags["blofin/pid"]
    assert platform.warehouse.read("SELECT count(*) FROM meta.storage_history").item() > 0
