"""The daemon's side: schedules mark, the conductor starts what is due once and in order, dead runs hold nothing up."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
from support.clockwork import moments
from support.platform import START, Platform

from blofin_assets.scheduling.conductor import MAX_ATTEMPTS, open_steps, ready_steps, request
from blofin_assets.scheduling.instance import close_dead_runs
from blofin_assets.shared.asset import STEP_TAG
from blofin_assets.shared.cadences import (
    CADENCES,
    DEEP_HISTORY,
    DRIFT,
    FORWARD,
    HALF_DAY,
    MARKET_DATA,
    ML_CYCLE,
    REPORT,
    STRATEGY_CYCLE,
    Step,
)
from blofin_assets.shared.coverage import DATASETS
from blofin_assets.shared.cycle_events import mark_done
from blofin_resources.processes import PROCESS_START, process_identity

pytestmark = pytest.mark.slow

LAST = datetime(2026, 3, 4, 0, tzinfo=UTC)
NOW = LAST + timedelta(days=1, hours=12, minutes=20)


def tick(platform: Platform, schedule: str, moment: datetime) -> dg.SkipReason:
    definition = platform.defs.resolve_schedule_def(schedule)
    with dg.build_schedule_context(
        instance=platform.instance, scheduled_execution_time=moment, resources=dict(platform.defs.resources or {})
    ) as context:
        result = definition.evaluate_tick(context)
    assert not result.run_requests
    return dg.SkipReason(result.skip_message or "")


def evaluate(platform: Platform) -> dg.RunRequest | None:
    sensor = platform.defs.resolve_sensor_def("conductor")
    with dg.build_sensor_context(
        instance=platform.instance,
        repository_def=platform.defs.get_repository_def(),
        resources=dict(platform.defs.resources or {}),
    ) as context:
        requests = sensor.evaluate_tick(context).run_requests or []
    assert len(requests) <= 1
    return requests[0] if requests else None


def succeed(platform: Platform, step_job: str, as_of: datetime) -> None:
    """Write the row that a cycle's last asset would have written."""
    if step_job in (STRATEGY_CYCLE, FORWARD, DRIFT):
        with platform.warehouse.transaction("test") as tx:
            mark_done(tx, step_job, str(as_of), as_of)
        return
    if step_job == REPORT:
        frame = pl.DataFrame(
            {"id": [str(as_of)], "report_date": [as_of.date()], "report_json": ["{}"], "timestamp": [as_of]}
        )
        table = "reports.daily_reports"
    else:
        frame = pl.DataFrame({"kind": ["model", "ensemble"]}).with_columns(
            pl.lit("a").alias("name"), pl.lit("1").alias("version"), pl.lit(1).alias("rank"),
            pl.lit("active").alias("status"),
        )  # fmt: skip
        table = "research.ranking_history"
    times = [name for name, dtype in frame.schema.items() if dtype == pl.Datetime]
    frame = frame.with_columns(
        pl.lit(as_of).cast(pl.Datetime("us", "UTC")).alias("as_of"), pl.col(times).cast(pl.Datetime("us", "UTC"))
    )
    with platform.warehouse.transaction("test") as tx:
        tx.append(table, frame)


def have_market(platform: Platform, through: datetime) -> None:
    """Write the coverage that the market data job would have written."""
    days = pl.date_range(START, through.date(), eager=True)
    ends = pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(days=1)
    frame = (
        pl.DataFrame({"dataset": list(DATASETS)})
        .join(pl.DataFrame({"symbol": list(platform.settings.symbols)}), how="cross")
        .join(pl.DataFrame({"day": days}), how="cross")
        .with_columns(pl.min_horizontal(ends, pl.lit(through)).alias("through"), pl.lit(0).alias("rows"))
    )
    with platform.warehouse.transaction("test") as tx:
        tx.append("market.coverage", frame)


def miss_three_ticks(platform: Platform) -> None:
    """Leave a platform that stopped after `LAST`, then ticks once, as Dagster does after downtime."""
    have_market(platform, NOW)
    for cadence in CADENCES:
        succeed(platform, cadence.job, cadence.floor(LAST))
    for cadence in CADENCES:
        last = NOW.replace(minute=0) if cadence.every == HALF_DAY else LAST + timedelta(days=1)
        tick(platform, f"{cadence.job}_schedule", last)


def run_to_rest(platform: Platform) -> list[tuple[str, str, datetime]]:
    """Let the conductor come to rest, each step that it asks for succeeding; return jobs, keys and as-ofs in order."""
    started: list[tuple[str, str, datetime]] = []
    while (found := evaluate(platform)) is not None:
        job, as_of = str(found.job_name), datetime.fromisoformat(found.tags["blofin/as_of"])
        started.append((job, str(found.partition_key), as_of))
        succeed(platform, job, as_of)
        assert len(started) < 100, "the conductor does not come to rest"
    return started


def test_after_missed_ticks_every_due_key_is_started_once_and_in_order(platform: Platform) -> None:
    miss_three_ticks(platform)
    started = [(job, key) for job, key, _ in run_to_rest(platform)]
    assert started == [
        (ML_CYCLE, "2026-03-04-12:00"),
        (FORWARD, "2026-03-04-12:00"),
        (ML_CYCLE, "2026-03-05-00:00"),
        (FORWARD, "2026-03-05-00:00"),
        (DRIFT, "2026-03-05"),
        (REPORT, "2026-03-04"),
        (ML_CYCLE, "2026-03-05-12:00"),
        (FORWARD, "2026-03-05-12:00"),
    ]
    assert evaluate(platform) is None


@pytest.mark.long
def test_a_month_of_ticks_with_outages_brings_every_cycle_once_and_in_order(platform: Platform) -> None:
    """Real schedules and the real conductor; of a cycle there is but the row that ends it."""
    begin, days = datetime(2026, 3, 5, tzinfo=UTC), 30
    short, long = range(6, 8), range(12, 23)  # days without a tick: all is made up for, and far too many
    ticks = [begin + half * HALF_DAY for half in range(2 * days) if half // 2 not in {*short, *long}]
    have_market(platform, ticks[-1])
    started: list[tuple[str, str, datetime]] = []
    for moment in ticks:
        for cadence in CADENCES:
            if moment.hour == 0 or cadence.every == HALF_DAY:
                tick(platform, f"{cadence.job}_schedule", moment)
        started += run_to_rest(platform)
    stages = {STRATEGY_CYCLE: 1, ML_CYCLE: 1, FORWARD: 2, DRIFT: 3, REPORT: 4}
    order = [(as_of, stages[job]) for job, _, as_of in started]
    assert order == sorted(order), "oldest first, and what is made of something comes after it"
    skipped = platform.warehouse.read("SELECT cycle, as_of FROM research.cycle_history WHERE state = 'skipped'")
    for cadence in CADENCES:
        due = list(moments(cadence.floor(begin), ticks[-1], cadence.every))
        missed = [each for each in due if timedelta(days=long[0]) <= each - begin <= timedelta(days=long[-1] + 1)]
        lost = missed[: -cadence.catch_up]
        assert sorted(skipped.filter(pl.col("cycle") == cadence.job)["as_of"]) == lost, cadence.job
        assert [as_of for job, _, as_of in started if job == cadence.job] == sorted({*due} - {*lost}), cadence.job


def test_a_tick_that_comes_twice_marks_once(platform: Platform) -> None:
    miss_three_ticks(platform)
    events = platform.warehouse.read("SELECT * FROM research.cycle_history").height
    tick(platform, f"{ML_CYCLE}_schedule", NOW.replace(minute=0))
    assert platform.warehouse.read("SELECT * FROM research.cycle_history").height == events


def test_market_data_comes_before_the_cycle_that_needs_it(platform: Platform) -> None:
    have_market(platform, LAST - timedelta(hours=6))
    for cadence in CADENCES:
        succeed(platform, cadence.job, cadence.floor(LAST - timedelta(hours=6)))
    tick(platform, f"{ML_CYCLE}_schedule", LAST)
    step = open_steps(platform.progress, platform.settings)[0]
    assert (step.job, step.as_of) == (MARKET_DATA, LAST)


def test_the_hourly_schedule_makes_market_data_due(platform: Platform) -> None:
    tick(platform, "market_data_schedule", LAST)
    found = evaluate(platform)
    assert found is not None
    assert found.job_name == MARKET_DATA
    assert found.tags["dagster/asset_partition_range_end"] == "2026-03-03"


def test_nothing_is_started_while_a_step_runs_and_a_failed_one_is_tried_again_later(platform: Platform) -> None:
    miss_three_ticks(platform)
    step = open_steps(platform.progress, platform.settings)[0]
    now = datetime.now(UTC)
    running = platform.instance.create_run_for_job(
        platform.defs.resolve_job_def(step.job), status=dg.DagsterRunStatus.STARTED, tags={STEP_TAG: step.run_key}
    )
    assert isinstance(request(step, platform.instance, now), dg.SkipReason)
    platform.instance.report_run_failed(running, "for the test")
    assert isinstance(request(step, platform.instance, now), dg.SkipReason)
    again = request(step, platform.instance, now + timedelta(minutes=6))
    assert isinstance(again, dg.RunRequest)
    assert again.run_key == f"{step.run_key}#2"
    for _ in range(MAX_ATTEMPTS - 1):
        platform.instance.create_run_for_job(
            platform.defs.resolve_job_def(step.job), status=dg.DagsterRunStatus.FAILURE, tags={STEP_TAG: step.run_key}
        )
    assert isinstance(request(step, platform.instance, now + timedelta(days=1)), dg.SkipReason)


def test_two_killed_runs_do_not_stop_the_next(platform: Platform) -> None:
    miss_three_ticks(platform)
    step = open_steps(platform.progress, platform.settings)[0]
    for _ in range(2):
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        platform.instance.create_run_for_job(
            platform.defs.resolve_job_def(step.job),
            status=dg.DagsterRunStatus.STARTED,
            tags={STEP_TAG: step.run_key, **process_identity(sleeper.pid)},
        )
        assert close_dead_runs(platform.instance) == []
        sleeper.send_signal(signal.SIGKILL)
        sleeper.wait()
        assert len(close_dead_runs(platform.instance)) == 1
    found = request(step, platform.instance, datetime.now(UTC) + timedelta(minutes=6))
    assert isinstance(found, dg.RunRequest)


def test_a_run_that_the_ui_executes_again_is_not_dead_before_it_has_a_process_of_its_own(platform: Platform) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    gone = process_identity(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    job = platform.defs.resolve_job_def(ML_CYCLE)
    first = platform.instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE, tags=gone)
    again = platform.instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTING, tags=gone, parent_run_id=first.run_id, root_run_id=first.run_id
    )
    assert close_dead_runs(platform.instance) == []
    platform.instance.add_run_tags(again.run_id, {PROCESS_START: "0.00"})
    assert close_dead_runs(platform.instance) == [again.run_id]


def test_a_run_of_this_very_process_is_not_dead(platform: Platform) -> None:
    platform.instance.create_run_for_job(
        platform.defs.resolve_job_def(ML_CYCLE), status=dg.DagsterRunStatus.STARTED, tags=process_identity()
    )
    assert close_dead_runs(platform.instance) == []


def test_a_cycle_that_keeps_failing_is_given_up_and_holds_up_nothing_else(platform: Platform) -> None:
    miss_three_ticks(platform)
    first = open_steps(platform.progress, platform.settings)[0]
    assert (first.job, first.first_key) == (ML_CYCLE, "2026-03-04-12:00")
    for _ in range(MAX_ATTEMPTS):
        platform.instance.create_run_for_job(
            platform.defs.resolve_job_def(first.job),
            status=dg.DagsterRunStatus.FAILURE,
            tags={STEP_TAG: first.run_key},
        )
    found = evaluate(platform)
    assert found is not None
    assert (found.job_name, found.partition_key) == (FORWARD, "2026-03-04-12:00")
    events = platform.warehouse.read("SELECT cycle, key FROM research.cycle_history WHERE state = 'failed'")
    assert events.rows() == [(ML_CYCLE, "2026-03-04-12:00")]


@pytest.mark.parametrize("job", [STRATEGY_CYCLE, ML_CYCLE])
def test_a_cycle_waits_for_the_one_before_it_and_is_not_made_after_a_later_one(platform: Platform, job: str) -> None:
    cadence = next(cadence for cadence in CADENCES if cadence.job == job)
    zero = cadence.floor(LAST)
    first, second = (cadence.step(zero + n * cadence.every) for n in (1, 2))
    now = second.as_of + timedelta(minutes=20)
    have_market(platform, second.as_of)
    succeed(platform, job, zero)
    platform.progress.mark([first, second], "due", "test")
    steps = open_steps(platform.progress, platform.settings)
    assert steps == [first, second]
    assert ready_steps(steps) == [first]
    platform.instance.create_run_for_job(
        platform.defs.resolve_job_def(job), status=dg.DagsterRunStatus.FAILURE, tags={STEP_TAG: first.run_key}
    )
    assert evaluate(platform) is None, "in its pause after a failure, the next one waits as well"
    platform.progress.mark([first], "failed", "test")
    assert [step for step in platform.plan(now).steps if step.job == job] == [first, second]
    succeed(platform, job, second.as_of)
    assert not [step for step in platform.plan(now).steps if step.job == job]
    assert open_steps(platform.progress, platform.settings) == []


def test_what_was_marked_due_is_passed_once_a_later_one_is_done(platform: Platform) -> None:
    first, second = (CADENCES[0].step(CADENCES[0].floor(LAST) + n * CADENCES[0].every) for n in (1, 2))
    have_market(platform, second.as_of)
    platform.progress.mark([first, second], "due", "test")
    succeed(platform, STRATEGY_CYCLE, second.as_of)
    assert open_steps(platform.progress, platform.settings) == []


def test_what_was_given_up_is_made_when_a_person_asks_and_by_nothing_else(platform: Platform) -> None:
    miss_three_ticks(platform)
    report = next(step for step in open_steps(platform.progress, platform.settings) if step.job == REPORT)
    platform.progress.mark([report], "failed", "test")
    tick(platform, f"{REPORT}_schedule", report.as_of)
    assert report not in open_steps(platform.progress, platform.settings)
    assert report in platform.plan(NOW).steps
    succeed(platform, REPORT, report.as_of + timedelta(days=1))
    assert report in platform.plan(NOW + timedelta(days=1)).steps, "a hole is made up for as well"
    succeed(platform, REPORT, report.as_of)
    assert report not in platform.plan(NOW).steps
    assert platform.progress.given_up(REPORT) == frozenset()


def test_a_report_waits_for_the_cycles_before_it_and_for_no_others() -> None:
    steps = [
        Step(ML_CYCLE, "2026-03-04-12:00", "2026-03-04-12:00", LAST + timedelta(hours=12)),
        Step(REPORT, "2026-03-04", "2026-03-04", LAST + timedelta(days=1)),
    ]
    assert ready_steps(steps) == steps[:1]
    late = [Step(REPORT, "2026-03-03", "2026-03-03", LAST), *steps]
    assert ready_steps(late) == [late[0], steps[0]]


def test_the_ledger_waits_for_cycles_and_drift_for_the_ledger_up_to_their_times() -> None:
    cycle = Step(STRATEGY_CYCLE, "2026-03-04", "2026-03-04", LAST)
    early = Step(FORWARD, "2026-03-03-12:00", "2026-03-03-12:00", LAST - timedelta(hours=12))
    ledger = Step(FORWARD, "2026-03-04-00:00", "2026-03-04-00:00", LAST)
    drift = Step(DRIFT, "2026-03-04", "2026-03-04", LAST)
    assert ready_steps([early, cycle, ledger, drift]) == [early, cycle]
    assert ready_steps([ledger, drift]) == [ledger]
    assert ready_steps([drift]) == [drift]
    market = Step(MARKET_DATA, "2026-03-10", "2026-03-12", LAST)
    deep = Step(DEEP_HISTORY, "2026-03-12", "2026-03-12", LAST)
    assert ready_steps([market, deep, cycle]) == [market, deep]
    assert ready_steps([deep, cycle]) == [deep, cycle]
    assert ready_steps([deep, ledger]) == [deep, ledger]
    report = Step(REPORT, "2026-03-11", "2026-03-11", LAST)
    assert ready_steps([deep, report]) == [deep, report]


def test_a_run_killed_before_it_started_is_closed_too(platform: Platform) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    identity = process_identity(gone.pid)
    gone.wait()
    platform.instance.create_run_for_job(
        platform.defs.resolve_job_def(ML_CYCLE), status=dg.DagsterRunStatus.NOT_STARTED, tags=identity
    )
    assert len(close_dead_runs(platform.instance)) == 1


def test_the_real_daemon_runs_what_is_due(platform: Platform) -> None:
    """Start `dagster-daemon` on a platform whose market data is due and see it come in."""
    home = platform.settings.warehouse / ".dagster"
    tick(platform, "market_data_schedule", LAST)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "BLOFIN_WAREHOUSE": str(platform.settings.warehouse),
        "BLOFIN_SYMBOLS": ",".join(platform.settings.symbols),
        "BLOFIN_START": "2026-03-01",
        "BLOFIN_UNIVERSE": "off",
    }
    daemon = subprocess.Popen(
        [sys.executable, "-m", "dagster._daemon", "run", "-m", "blofin_assets.definitions"], env=environment
    )
    try:
        deadline = time.monotonic() + 240
        while platform.progress.missing_days(datetime(2026, 3, 1, tzinfo=UTC).date(), LAST):
            assert daemon.poll() is None, "the daemon has ended"
            assert time.monotonic() < deadline, "nothing came in within four minutes"
            time.sleep(2)
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)
    runs = platform.instance.get_runs(dg.RunsFilter(job_name=MARKET_DATA))
    assert [run.status for run in runs if STEP_TAG in run.tags]
