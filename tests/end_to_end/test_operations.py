"""The platform as a service: one daemon for each warehouse, its health, a status that a program can read."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_shared.serdes import serialize_value
from support.platform import AS_OF, Make, Platform
from typer.testing import CliRunner

from blofin_assets.cli.main import app
from blofin_assets.cli.status import NEEDS_A_LOOK
from blofin_assets.definitions import build_defs
from blofin_assets.health import Item, collect_health
from blofin_assets.scheduling import dagster_files
from blofin_assets.shared.cadences import CADENCES, REPORT
from blofin_assets.shared.code_version import PROJECT
from blofin_assets.shared.coverage import DATASETS
from blofin_assets.shared.cycle_events import mark_done
from blofin_resources.dagster_resources import AS_OF_TAG
from blofin_resources.errors import BlofinError
from blofin_resources.processes import exclusive, exclusive_for_life
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

BLOFIN = Path(sys.executable).with_name("blofin")


def items(platform: Platform, now: datetime = AS_OF) -> dict[str, Item]:
    return {item.name: item for item in collect_health(platform.warehouse, platform.instance, platform.settings, now)}


def call(name: str, outcome: str, cost: float) -> dict[str, object]:
    texts = dict.fromkeys(("role", "model", "prompt_name", "prompt_hash", "prompt"), "x")
    return {
        **texts, "id": name, "outcome": outcome, "cost_usd": cost, "worst_case_usd": 1.0, "prompt_version": 1,
        "sequence": 0, "round": 0, "as_of": AS_OF, "called_at": AS_OF,
    }  # fmt: skip


def test_an_empty_platform_says_what_is_absent_and_that_somebody_should_look(platform: Platform) -> None:
    seen = items(platform)
    assert not seen["market data"].ok
    assert seen["market data"].detail == "no data stored for BTC-USDT, ETH-USDT; run `blofin run`"
    assert seen["strategy cycle"].detail.startswith("none yet; due: 2026-03-1")
    assert seen["drift"].detail.startswith("not evaluated yet")
    assert seen["daemon"].detail.startswith("never started")
    assert seen["Claude"].detail == "no key is set; 0.00 of 5.00 USD spent today in 0 calls"
    assert seen["notifier"].detail.startswith("off")


def test_age_gaps_failures_and_spending_are_those_of_the_warehouse(platform: Platform) -> None:
    now = AS_OF
    coverage = [
        {"dataset": dataset, "symbol": symbol, "day": now.date(), "through": through, "rows": 1}
        for dataset in ("candles_1m", "features_60m")
        for symbol, through in (("BTC-USDT", now), ("ETH-USDT", now - timedelta(hours=4)))
    ]
    gap = {"symbol": "ETH-USDT", "from_ts": now - timedelta(hours=5), "to_ts": now - timedelta(hours=4)}
    with platform.warehouse.transaction("test") as tx:
        tx.append("market.coverage", pl.DataFrame(coverage))
        tx.append("market.gaps", pl.DataFrame([{**gap, "bars": 60, "kind": "unknown", "found_at": now}]))
        deep = {**gap, "dataset": "deep_60m", "symbol": "OLD-USDT", "bars": 7, "kind": "unknown", "looked_at": now}
        tx.append("market.deep_gaps", pl.DataFrame([{**deep, "found_at": now}]))
        tx.append("research.llm_calls", pl.DataFrame([call("a", "answered", 0.5), call("b", "no_key", 0.0)]), ["id"])
    job = platform.defs.resolve_job_def("maintenance")
    run = platform.instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE)
    seen = items(platform, max(now, datetime.now(UTC)))
    gaps = {"ETH-USDT": {"gaps": 1, "bars": 60}, "deep history": {"gaps": 1, "bars": 7}}
    assert seen["open gaps"].values == gaps
    assert seen["open gaps"].detail == "ETH-USDT 60 bars in 1; deep history 7 bars in 1"
    assert seen["runs"].values["failed"] == [{"run_id": run.run_id, "job": "maintenance", "settled": False}]
    assert not seen["runs"].ok
    seen = items(platform)
    assert "4.0 h old, ETH-USDT the oldest" in seen["market data"].detail
    assert not seen["features"].ok
    assert "0.50 of 5.00 USD spent today in 1 call" in seen["Claude"].detail, "what was not sent is no call"


@pytest.mark.slow
def test_what_is_due_on_an_archive_that_ended_is_told_as_of_its_end(make_platform: Make, tmp_path: Path) -> None:
    first, end = AS_OF - timedelta(days=2), AS_OF - timedelta(hours=5)
    ts = pl.datetime_range(first, end, "1h", closed="left", eager=True)
    bars = pl.DataFrame({"ts": ts, "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 1.0})
    bars.write_parquet(tmp_path / "BTC-USDT_60m.parquet")
    platform = make_platform(market="archive", archive=tmp_path, symbols="BTC-USDT", start=first.date().isoformat())
    coverage = [
        {"dataset": dataset, "symbol": "BTC-USDT", "day": end.date(), "through": end, "rows": 19}
        for dataset in ("candles_1m", "features_60m")
    ]
    with platform.warehouse.transaction("test") as tx:
        tx.append("market.coverage", pl.DataFrame(coverage))
    years, day = (items(platform, AS_OF + timedelta(days=days)) for days in (500, 0.5))
    assert years["archive"].detail.startswith("the files end at 2026-03-12 19:00, 500.2 days ago")
    assert years["market data"].ok
    assert years["market data"].detail == "up to 2026-03-12 19:00, 0 min old"
    assert years["strategy cycle"].detail == "none yet; due: 2026-03-12"
    assert "archive" not in day, "more bars may come"
    assert not day["market data"].ok


def made(
    platform: Platform, job: str, status: dg.DagsterRunStatus, selection: str | None = None, **tags: str
) -> dg.DagsterRun:
    definition = platform.defs.resolve_job_def(job)
    assets = None if selection is None else frozenset({dg.AssetKey(selection)})
    keys = {f"dagster/{name}": value for name, value in tags.items() if name != "as_of"}
    step = {AS_OF_TAG: tags["as_of"]} if "as_of" in tags else {}
    return platform.instance.create_run_for_job(
        definition, status=status, tags={**keys, **step}, asset_selection=assets
    )


@pytest.mark.slow
def test_a_failed_run_needs_a_look_until_the_same_is_run_well(platform: Platform) -> None:
    bad, good = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS
    first, last = "asset_partition_range_start", "asset_partition_range_end"

    def told() -> Item:
        return items(platform, max(AS_OF, datetime.now(UTC)))["runs"]

    made(platform, "maintenance", good)
    failed = made(platform, "maintenance", bad)
    assert not told().ok, "what succeeded before settles nothing"
    made(platform, "drift", good)
    assert not told().ok, "nor does another job"
    made(platform, "maintenance", good)
    assert told().ok
    assert "1 failed (1 resolved since)" in told().detail
    assert told().values["failed"] == [{"run_id": failed.run_id, "job": "maintenance", "settled": True}]
    made(platform, "market_data", bad, **{first: "2026-03-03", last: "2026-03-05"})
    made(platform, "market_data", good, partition="2026-03-04")
    assert not told().ok, "a part of the days"
    made(platform, "market_data", good, "candles_1m", **{first: "2026-03-01", last: "2026-03-09"})
    assert not told().ok, "one of the assets"
    assert "market_data" in told().detail
    made(platform, "market_data", good, **{first: "2026-03-01", last: "2026-03-09"})
    assert told().ok


@pytest.mark.slow
def test_a_failed_step_is_settled_by_what_is_in_the_warehouse_whoever_made_it(platform: Platform) -> None:
    now = max(AS_OF, datetime.now(UTC))
    step = CADENCES[0].step(CADENCES[0].floor(AS_OF))
    made(platform, step.job, dg.DagsterRunStatus.FAILURE, partition=step.first_key, as_of=step.as_of.isoformat())
    market = {"partition": "2026-03-12", "as_of": AS_OF.isoformat()}
    made(platform, "market_data", dg.DagsterRunStatus.FAILURE, **market)
    assert len([run for run in items(platform, now)["runs"].values["failed"] if not run["settled"]]) == 2
    with platform.warehouse.transaction("test") as tx:
        mark_done(tx, step.job, step.first_key, step.as_of)
        rows = [
            {"dataset": dataset, "symbol": symbol, "day": AS_OF.date() - timedelta(days=1), "through": AS_OF, "rows": 1}
            for dataset in DATASETS
            for symbol in platform.settings.symbols
        ]
        tx.append("market.coverage", pl.DataFrame(rows[1:]))
    settled = {run["job"]: run["settled"] for run in items(platform, now)["runs"].values["failed"]}
    assert settled == {step.job: True, "market_data": False}, "one dataset of one symbol lacks"
    with platform.warehouse.transaction("test") as tx:
        tx.append("market.coverage", pl.DataFrame(rows[:1]))
    assert items(platform, now)["runs"].ok


@pytest.mark.slow
def test_a_failed_report_is_not_settled_by_that_of_another_day(platform: Platform) -> None:
    [cadence] = (cadence for cadence in CADENCES if cadence.job == REPORT)
    later = cadence.floor(AS_OF)
    failed = cadence.step(later - timedelta(days=3))

    def report_made(as_of: datetime) -> None:
        row = {"id": str(as_of), "report_date": as_of.date(), "report_json": "{}", "timestamp": as_of, "as_of": as_of}
        times = dict.fromkeys(("timestamp", "as_of"), pl.Datetime("us", "UTC"))
        with platform.warehouse.transaction("test") as tx:
            tx.append("reports.daily_reports", pl.DataFrame([row], schema_overrides=times))

    report_made(later)
    made(platform, REPORT, dg.DagsterRunStatus.FAILURE, partition=failed.first_key, as_of=failed.as_of.isoformat())
    assert not items(platform, max(AS_OF, datetime.now(UTC)))["runs"].ok
    report_made(failed.as_of)
    assert items(platform, max(AS_OF, datetime.now(UTC)))["runs"].ok


def without_rights() -> None:
    """Take root's right to pass over the rights of files, which the tests may run with, from the program to come."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    places = [(place, place.stat().st_mode) for place in (folder, *folder.rglob("*"))]
    for place, mode in places:
        place.chmod(mode & ~0o222)
    yield
    for place, mode in places:
        place.chmod(mode)


@pytest.mark.slow
def test_status_of_a_warehouse_that_may_only_be_read_is_told_in_words(platform: Platform) -> None:
    folder = platform.settings.warehouse
    platform.instance.get_runs()  # so that there is a record
    while dagster_files._held:  # or its log would lie beside it, and could be read
        dagster_files._held.popitem()[1].close()
    environment = {**os.environ, "BLOFIN_WAREHOUSE": str(folder)}

    def status() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BLOFIN, "status"], env=environment, capture_output=True, text=True, check=False, preexec_fn=without_rights
        )  # fmt: skip

    with read_only(folder / ".dagster"):
        record = status()
    with read_only(folder):
        whole = status()
    assert "Traceback" not in record.stderr + whole.stderr
    assert record.returncode == NEEDS_A_LOOK, record
    assert "runs and daemon state cannot be read" in " ".join(record.stdout.split())
    if whole.returncode != NEEDS_A_LOOK:  # no process keeps SQLite's file beside the catalog
        assert whole.returncode == 1, whole
        assert f"may not write {folder}" in whole.stderr
        assert whole.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_cycle_that_was_given_up_needs_a_look_until_a_later_one_is_there(platform: Platform) -> None:
    cadence = CADENCES[0]
    failed = cadence.floor(AS_OF)
    platform.progress.mark([cadence.step(failed)], "failed", "test")
    name, key = "strategy cycle", cadence.key(failed)
    for age in (1, 47, 95):  # hours: long after a day, and whatever became due since
        seen = items(platform, failed + timedelta(hours=age))[name]
        assert not seen.ok
        assert f"abandoned: {key}" in seen.detail
        assert f"due: {key}" not in seen.detail
    with platform.warehouse.transaction("test") as tx:
        mark_done(tx, cadence.job, "later", failed + cadence.every)
    assert items(platform, failed + timedelta(hours=47))[name].values["given_up"] == [failed.isoformat()]
    seen = items(platform, failed + timedelta(hours=49))[name]
    assert seen.ok, seen
    with platform.warehouse.transaction("test") as tx:
        mark_done(tx, cadence.job, key, failed)
    assert items(platform, failed + timedelta(hours=47))[name].ok


def test_drift_is_shown_as_of_the_newest_evaluation_date(platform: Platform) -> None:
    try:
        empty = platform.warehouse.read("SELECT * EXCLUDE (run_id) FROM research.drift_tests")
    except BlofinError:
        pytest.skip("this warehouse has no forward ledger yet")
    needed = {"metric": "net_return", "days": 8.0, "reason": "x", "kind": "strategy", "version": "1"}
    rows = [
        {**needed, "as_of": evaluated_at, "activated_at": AS_OF - timedelta(days=9), "name": name, "decision": decision}
        for evaluated_at, name, decision in (
            (AS_OF - timedelta(days=1), "old", "drift"), (AS_OF, "a", "steady"), (AS_OF, "b", "drift"),
        )
    ]  # fmt: skip
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.drift_tests", pl.DataFrame(rows).select(name for name in empty.columns if name in rows[0]))
    seen = items(platform)["drift"]
    assert seen.detail == "1 drift, 1 steady on 2026-03-13 00:00: b"
    assert not seen.ok


@pytest.mark.slow
def test_status_fits_80_columns_and_is_json_for_programs(make_platform: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = make_platform()
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(platform.settings.warehouse))
    monkeypatch.setenv("COLUMNS", "300")
    shown = CliRunner().invoke(app, ["status"])
    assert shown.exit_code == NEEDS_A_LOOK
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    read = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    assert read["well"] is False
    assert {"name", "well", "detail", "values"} == set(read["items"][0])


def test_status_without_a_warehouse_says_how_to_get_one_and_makes_none(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["status"])
    assert "blofin run" in str(answer.exception)
    assert not (tmp_path / "warehouse").exists()


def test_a_lock_for_life_excludes_every_other_and_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from blofin_resources.processes import exclusive_for_life; "
        "exclusive_for_life(Path(sys.argv[1]), 'daemon'); print('held', flush=True); "
        "import os; os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(60)'])"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        time.sleep(0.5)  # by now it is the other program
        with pytest.raises(BlofinError, match="another process"), exclusive(tmp_path, "daemon", wait_seconds=0):
            pass
        with pytest.raises(BlofinError, match="another process"):
            exclusive_for_life(tmp_path, "daemon")
        holder.send_signal(signal.SIGKILL)
    with exclusive(tmp_path, "daemon", wait_seconds=60):
        pass


@pytest.mark.slow
def test_no_env_file_moves_a_program_of_dagster_to_another_instance(tmp_path: Path) -> None:
    (tmp_path / "other" / ".dagster").mkdir(parents=True)
    Path(".env").write_text(f"DAGSTER_HOME={tmp_path}/other/.dagster\nBLOFIN_WAREHOUSE=other\n", encoding="utf-8")
    code = "from blofin_assets.cli import ui; ui.become(['dagster', 'instance', 'info'], ui._prepared())"
    environment = {**os.environ, "BLOFIN_WAREHOUSE": "real", "PYTHONPATH": str(PROJECT)}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert f"$DAGSTER_HOME: {tmp_path}/real/.dagster\n" in answer.stdout, answer.stderr


@pytest.mark.long
def test_a_second_daemon_ends_with_one_line_and_the_first_shows_its_health(tmp_path: Path) -> None:
    folder = tmp_path / "warehouse"
    # as `make` writes it: were it heeded, the daemon would beat in that folder
    Path(".env").write_text(f"DAGSTER_HOME={tmp_path}/other/.dagster\n", encoding="utf-8")
    (tmp_path / "other" / ".dagster").mkdir(parents=True)
    environment = {**os.environ, "BLOFIN_WAREHOUSE": str(folder), "BLOFIN_SYMBOLS": "BTC-USDT"}
    with (tmp_path / "daemon.txt").open("w") as output:
        first = subprocess.Popen([BLOFIN, "daemon"], env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 240
        well = False
        while not well and time.monotonic() < deadline:
            time.sleep(1)
            assert first.poll() is None, (tmp_path / "daemon.txt").read_text()
            if not (folder / ".dagster" / "schedules" / "schedules.db").exists():
                continue
            home = str(folder / ".dagster")
            with dg.DagsterInstance.from_config(home) as instance, Warehouse.open_readonly(folder) as store:
                seen = collect_health(store, instance, Settings(warehouse=folder), datetime.now(UTC))
            well = next(item for item in seen if item.name == "daemon").detail.startswith("runs")
        assert well
        for command in (["daemon"], ["ui", "--port", "3999"]):
            second = subprocess.run([BLOFIN, *command], env=environment, capture_output=True, text=True, check=False)
            assert second.returncode == 1
            assert second.stderr.startswith("blofin: daemon is running in another process")
            assert "\n" not in second.stderr.strip()
    finally:
        first.send_signal(signal.SIGTERM)
        first.wait(60)


def test_a_warehouse_of_another_dagster_instance_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, elsewhere = tmp_path / "warehouse", tmp_path / "elsewhere"
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(folder))
    with Warehouse.open(folder, market="sample", market_id="seed=7") as store:
        assert store.bind_instance(elsewhere) is None
    answer = CliRunner().invoke(app, ["reproduce", "2026-03-12"])
    assert f"the runs of this warehouse are in {elsewhere}" in answer.stderr
    assert f"set DAGSTER_HOME={elsewhere}" in answer.stderr


@pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition:DeprecationWarning")  # Dagster's own use
def test_no_secret_is_in_what_dagster_shows(tmp_path: Path) -> None:
    hidden = {
        "catalog": "postgres:dbname=blofin password=hunter2",
        "anthropic_api_key": "sk-ant-hunter2",
        "anthropic_base_url": "https://me:hunter2@example.com",
        "notify_url": "https://example.com/hunter2",
    }
    defs = build_defs(Settings(warehouse=tmp_path / "w", **hidden))  # type: ignore[arg-type]
    shown = serialize_value(RepositorySnap.from_def(defs.get_repository_def()))
    assert "warehouse" in shown
    assert "hunter2" not in shown
