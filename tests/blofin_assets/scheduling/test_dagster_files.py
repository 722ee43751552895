"""Events of Dagster are kept without a wait for the disk, and outlive the process that wrote them."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from blofin_assets.scheduling import dagster_files
from blofin_assets.scheduling.instance import prepare_home

EVENTS = 20


def opened(path: Path) -> None:
    """Write to a file as Dagster does: open, commit, close."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("PRAGMA journal_mode=WAL"))
        connection.execute(text("CREATE TABLE IF NOT EXISTS events (number INTEGER)"))
        connection.execute(text("INSERT INTO events VALUES (1)"))
        connection.commit()


@pytest.fixture(autouse=True)
def _forget() -> None:
    dagster_files.ease_dagster_files()


def test_the_log_stays_between_two_connections(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    opened(path)
    opened(path)
    log = Path(f"{path}-wal")
    assert log.stat().st_size > 0
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM events").fetchone() == (2,)
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 1


def test_few_files_are_kept_open(tmp_path: Path) -> None:
    for number in range(dagster_files.MOST + 3):
        for _ in range(2):
            opened(tmp_path / f"{number}.db")
    kept = list(dagster_files._held)
    assert len(kept) == dagster_files.MOST
    assert kept[-1] == str(tmp_path / f"{dagster_files.MOST + 2}.db")
    assert not Path(f"{tmp_path / '0.db'}-wal").exists(), "closed, so its log is in the file"


def test_events_outlive_a_process_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "import dagster as dg\n"
        "from blofin_assets.scheduling.instance import prepare_home\n"
        "instance = dg.DagsterInstance.from_config(str(prepare_home(Path(sys.argv[1]))))\n"
        f"for number in range({EVENTS}):\n"
        "    instance.report_runless_asset_event(dg.AssetMaterialization('one', metadata={'number': number}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    with dg.DagsterInstance.from_config(str(prepare_home(tmp_path))) as instance:
        found = instance.fetch_materializations(dg.AssetKey("one"), limit=100).records
    assert len(found) == EVENTS
