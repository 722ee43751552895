"""`kill -9` anywhere in a run, and running again: the same rows as if nothing had happened."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from support.platform import AS_OF, SMALL, Platform, content, differing, platforms

BLOFIN = Path(sys.executable).with_name("blofin")

TABLES = (
    "market.instruments", "market.candles_1m", "market.candles_5m", "market.candles_1d", "market.funding_rates",
    "market.coverage", "features.features_1m", "features.features_60m", "research.strategies",
    "research.strategy_lifecycle", "research.strategy_backtest_results", "research.strategy_scores", "research.trades",
    "research.equity", "research.trials", "research.evidence", "research.ranking_history", "research.knowledge_entries",
    "ml.ml_model_results", "ml.predictions", "ml.ml_ensembles", "research.forward_entries", "research.drift_tests",
)  # fmt: skip


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start a pass; what it prints goes to a file, since its children outlive it and would hold a pipe open."""
    settings = {f"BLOFIN_{name.upper()}": str(value) for name, value in SMALL.items()}
    environment = {**os.environ, **settings, "BLOFIN_WAREHOUSE": str(folder)}
    command = [BLOFIN, "run", "--as-of", AS_OF.isoformat()]
    with printed(folder).open("a") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)


def printed(folder: Path) -> Path:
    return folder.with_suffix(".txt")


def commits(folder: Path) -> int:
    """Return how many commits a warehouse has seen, straight from its catalog: an open one costs too much to ask."""
    try:
        with closing(sqlite3.connect(f"file:{folder / 'catalog.sqlite'}?mode=ro", uri=True, timeout=5)) as catalog:
            return int(catalog.execute("SELECT max(snapshot_id) FROM ducklake_snapshot").fetchone()[0])
    except sqlite3.Error:  # not made yet
        return 0


def kill_at(folder: Path, commit: int, delay: float) -> bool:
    """Start a pass and kill it so long after some commit; return whether it lived until then."""
    process = start(folder)
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        if process.poll() is not None:
            assert process.returncode == 0, printed(folder).read_text()
            return False
        if commits(folder) >= commit:
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"commit {commit} did not come; there are {commits(folder)}: {printed(folder).read_text()}")


@pytest.mark.parametrize("kills", [pytest.param(1, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.long)])
def test_killed_at_any_points_and_run_again_leaves_the_same_rows(done: Platform, tmp_path: Path, kills: int) -> None:
    folder, draw = tmp_path / "killed", random.Random(20)  # noqa: S311 - points to die at, no secret
    last = done.warehouse.snapshot_id()
    killed = 0
    for commit in sorted(draw.sample(range(2, last - 1), kills)):
        # a run that was killed may have committed more than it was to: the next dies at least one commit later
        killed += kill_at(folder, max(commit, commits(folder) + 1), draw.uniform(0.0, 0.5))
    assert killed >= kills * 2 // 3, "too few runs were alive at the points to tell"
    assert start(folder).wait() == 0, printed(folder).read_text()
    with platforms(tmp_path) as make:
        again = make("killed")
        found = {table: differing(content(again.warehouse, table), content(done.warehouse, table)) for table in TABLES}
        assert {table: columns for table, columns in found.items() if columns} == {}
        assert again.warehouse.integrity() == []
        unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
        assert again.instance.get_runs(dg.RunsFilter(statuses=unfinished)) == []
