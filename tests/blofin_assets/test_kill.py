"""`kill -9` anywhere in a run, and running again: the same rows as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from support.platform import AS_OF, START, Platform, content, differing, platforms

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import Warehouse

BLOFIN = Path(sys.executable).with_name("blofin")

KILL_ONCE_THERE = (
    "SELECT 1 FROM market.coverage WHERE dataset = 'candles_1m'",
    "SELECT 1 FROM research.strategy_backtest_results",
    "SELECT 1 FROM ml.ml_model_results",
)
"""The process is killed as soon as each of these has a row: in the middle of each job."""

TABLES = (
    "market.instruments", "market.candles_1m", "market.candles_5m", "market.candles_1d", "market.funding_rates",
    "market.coverage", "features.features_1m", "features.features_60m", "research.strategies",
    "research.strategy_events", "research.strategy_backtest_results", "research.strategy_scores", "research.trades",
    "research.equity", "research.trials", "research.evidence", "research.ranking_history",
    "ml.ml_model_results", "ml.predictions",
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platforms(tmp_path_factory.mktemp("undisturbed")) as make:
        platform = make()
        platform.run()
        yield platform


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start a pass; what it prints goes to a file, since its children outlive it and would hold a pipe open."""
    environment = {
        **os.environ,
        "BLOFIN_WAREHOUSE": str(folder),
        "BLOFIN_SYMBOLS": "BTC-USDT,ETH-USDT",
        "BLOFIN_START": START.isoformat(),
    }
    command = [BLOFIN, "run", "--as-of", AS_OF.isoformat()]
    with printed(folder).open("a") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)


def printed(folder: Path) -> Path:
    return folder.with_suffix(".txt")


def wait_for(folder: Path, query: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the run ended before it was killed: {printed(folder).read_text()}"
        try:
            with Warehouse.open_readonly(folder) as warehouse:
                if warehouse.read(query).height:
                    return
        except WarehouseError:  # not made yet
            pass
        time.sleep(0.05)
    pytest.fail(f"nothing came of {query}")


@pytest.mark.long
def test_killed_in_each_job_and_run_again_leaves_the_same_rows(undisturbed: Platform, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    for query in KILL_ONCE_THERE:
        process = start(folder)
        wait_for(folder, query, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = start(folder)
    assert last.wait() == 0, printed(folder).read_text()
    with platforms(tmp_path) as make:
        killed = make("killed")
        found = {
            table: differing(content(killed.warehouse, table), content(undisturbed.warehouse, table))
            for table in TABLES
        }
        assert {table: columns for table, columns in found.items() if columns} == {}
        assert killed.warehouse.integrity() == []
        unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
        assert killed.instance.get_runs(dg.RunsFilter(statuses=unfinished)) == []
        failed = killed.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        assert len(failed) == len(KILL_ONCE_THERE)
