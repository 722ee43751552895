"""Runs of single steps: what a signal does to them."""

import os
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from blofin_assets.cli.run import _left, _why
from blofin_assets.scheduling.runner import Outcome, console, execute
from blofin_assets.shared.cadences import DEEP_HISTORY, MARKET_DATA, REPORT, Step
from blofin_assets.shared.fence import fenced
from blofin_resources.warehouse import Warehouse

STEP = Step("signalled", "2026-03-01", "2026-03-02", datetime(2026, 3, 3, tzinfo=UTC))


def job_of(first: dg.OpDefinition) -> dg.JobDefinition:
    @dg.op
    def after(before: object) -> None:  # noqa: ARG001 - what orders the two
        pytest.fail("what comes after a failed op does not run")

    @dg.job(name=STEP.job, executor_def=dg.in_process_executor, logger_defs={"console": console(lambda *_: None)})
    def signalled() -> None:
        after(first())

    return signalled


@pytest.mark.parametrize(
    ("sent", "at"),
    [
        (signal.SIGINT, "in Python"),
        (signal.SIGTERM, "in Python"),
        (signal.SIGTERM, "in a query"),
        (signal.SIGINT, "in an earlier state"),
    ],
)
def test_a_signal_interrupts_and_a_failure_does_not(sent: signal.Signals, at: str, tmp_path: Path) -> None:
    endless = "SELECT count(*) AS n FROM range(10_000_000_000) AS a(n), range(7) AS b(n) WHERE a.n % 11 = b.n"

    def long() -> None:
        soon = threading.Timer(0.3, os.kill, (os.getpid(), sent))
        if at == "in Python":
            soon.start()
            time.sleep(5)
            return
        with Warehouse.open(tmp_path, market="sample") as warehouse:
            soon.start()
            if at == "in a query":
                warehouse.read(endless)
            warehouse.read_at(warehouse.snapshot_id(), endless)

    @dg.op
    def struck() -> None:
        fenced(long)

    @dg.op
    def failing() -> None:
        raise ValueError(sent.name)

    with dg.DagsterInstance.ephemeral() as instance:
        interrupted = execute(STEP, job_of(struck), instance)
        failed = execute(STEP, job_of(failing), instance)
    assert interrupted.interrupted
    assert interrupted.errors
    assert not failed.interrupted
    assert failed.errors[0].startswith("failing: ")


def test_nothing_runs_after_an_interruption_and_deep_history_alone_after_market_data() -> None:
    failed, interrupted = Outcome("0123456789", ("x: y",)), Outcome("0123456789", ("x",), interrupted=True)
    jobs = {MARKET_DATA, DEEP_HISTORY, REPORT}
    market = Step(MARKET_DATA, STEP.first_key, STEP.last_key, STEP.as_of)
    assert _left(jobs, STEP, failed) == jobs
    assert _left(jobs, market, failed) == {DEEP_HISTORY}
    assert _left(jobs, market, interrupted) == _left(jobs, STEP, interrupted) == set()
    assert _why(market, failed) == "market_data 2026-03-01...2026-03-02 failed: x: y (run 01234567)"
    assert _why(market, interrupted) == "market_data 2026-03-01...2026-03-02 was interrupted; resume with: blofin run"
