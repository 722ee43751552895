"""The checks that set off re-tuning: what they say of the stored drift tests, and what the sensor reads of it."""

import json
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest
from support.platform import Platform

from backtester.statistics import drift
from blofin_assets.definitions import build_resources
from blofin_assets.drift import checks as drift_checks
from blofin_assets.drift.assets import drift_rows, drift_tests
from blofin_assets.drift.checks import CHECKED, DRIFTED, performance_drift
from blofin_assets.drift.performance import RunTest
from blofin_assets.drift.sensor import choose, failures
from blofin_assets.scheduling.progress import WarehouseProgress
from blofin_assets.shared.cadences import DRIFT
from model_zoo.models.catalog import names

pytestmark = pytest.mark.slow

EVALUATED_AT = datetime(2026, 3, 12, tzinfo=UTC)
KEPT = drift.MeanDifference(1.0, 0.1, 1.0, 0.0, 0.2, -0.3, 0.3, 0.5, 12.0)


def broken(p: float) -> drift.MeanDifference:
    return drift.MeanDifference(1.0, 0.1, -1.0, 2.0, 0.2, 1.0, float("inf"), p, 12.0)


def asked(kind: str, name: str, found: drift.MeanDifference) -> RunTest:
    return RunTest(
        kind, name, "1", EVALUATED_AT - timedelta(days=8), "net_return", drift.DriftTest(found, 8.0, 99), None, 7.0
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def evaluated(
    platform: Platform, instance: dg.DagsterInstance, *tests: RunTest, only: Collection[str] = CHECKED.keys()
) -> dict[str, dg.AssetCheckEvaluation]:
    """Store drift tests, run its checks or some of them, and return what they say by name."""
    with platform.warehouse.transaction("test") as tx:
        tx.append(
            "research.drift_tests", drift_rows(list(tests), EVALUATED_AT).with_columns(pl.lit(1).alias("snapshot_id"))
        )
    keys = [dg.AssetCheckKey(drift_tests.key, name) for name in only]
    job = dg.define_asset_job("checks", selection=dg.AssetSelection.checks(*keys))
    defs = dg.Definitions(
        assets=[drift_tests], asset_checks=[performance_drift], jobs=[job], resources=build_resources(platform.settings)
    )
    tags = {"dagster/partition": f"{EVALUATED_AT:%Y-%m-%d}"}
    result = defs.resolve_job_def("checks").execute_in_process(instance=instance, tags=tags)
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def is_done(platform: Platform) -> bool:
    return EVALUATED_AT in WarehouseProgress(platform.warehouse, ()).done(DRIFT)


def test_a_failed_check_names_what_drifted_in_what_a_browser_reads(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    said = evaluated(platform, instance, asked("strategy", "reversed", broken(1e-6)), asked("strategy", "steady", KEPT))
    assert said.keys() == CHECKED.keys(), "each check of them is evaluated every time"
    assert [name for name, each in said.items() if not each.passed] == ["strategy_drift"]
    rows: Any = said["strategy_drift"].metadata[DRIFTED].value
    assert [row["name"] for row in rows] == ["reversed"]
    assert rows[0]["high"] is None
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    counts = {name: said["strategy_drift"].metadata[name].value for name in ("drift", "steady", "insufficient")}
    assert counts == {"drift": 1, "steady": 1, "insufficient": 0}


def test_each_model_has_a_check_of_its_own(platform: Platform, instance: dg.DagsterInstance) -> None:
    moved, steady, *others = names()
    said = evaluated(platform, instance, asked("model", moved, broken(1e-6)), asked("model", steady, KEPT))
    assert not said[f"model_drift_{moved}"].passed
    assert moved in str(said[f"model_drift_{moved}"].description)
    assert all(said[f"model_drift_{name}"].passed for name in (steady, *others))
    assert said[f"model_drift_{steady}"].metadata["steady"].value == 1


def test_the_sensor_reads_them_all_the_surest_first(platform: Platform, instance: dg.DagsterInstance) -> None:
    first, second, third, *_ = names()
    evaluated(
        platform, instance,
        asked("model", first, broken(3e-6)), asked("model", second, broken(1e-6)), asked("model", third, broken(2e-6)),
        asked("strategy", "reversed", broken(1.5e-6)), asked("ensemble", "all", broken(1e-6)),
    )  # fmt: skip
    found = failures(instance)
    told = [(each.kind, [row["name"] for row in each.drifted]) for each in found]
    assert told == [("model", [second]), ("strategy", ["reversed"]), ("model", [third]), ("model", [first])]
    assert len({each.key for each in found}) == len(found), "each failure has a run of its own"
    assert choose(found, []) == found


def test_an_evaluation_date_is_done_when_its_checks_have_been_said(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, tags = platform.defs.resolve_job_def(DRIFT), {"dagster/partition": f"{EVALUATED_AT:%Y-%m-%d}"}
    with monkeypatch.context() as patch:
        patch.delattr(drift_checks, "load_drift_run")
        run = job.execute_in_process(instance=platform.instance, tags=tags, raise_on_error=False)
    assert run.asset_materializations_for_node("drift_tests"), "the rows were written"
    assert not run.success
    assert not is_done(platform)
    assert job.execute_in_process(instance=platform.instance, tags=tags).success
    assert is_done(platform)


def test_one_check_evaluated_by_hand_does_not_finish_the_drift_tests(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    said = evaluated(platform, instance, only=["ensemble_drift"])
    assert said.keys() == {"ensemble_drift"}
    assert not is_done(platform)
