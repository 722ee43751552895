"""Several processes on one warehouse: writers at once, an analyst beside them, one that is killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import Warehouse

pytestmark = pytest.mark.slow

Bars = Callable[..., pl.DataFrame]

WORKER = Path(__file__).with_name("worker.py")
DAYS, COMMITS = 3, 8


def _begin(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _rows(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.read("SELECT * EXCLUDE (run_id) FROM market.candles_1m ORDER BY symbol, ts")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The candles of a writer that nobody kills."""
    folder = tmp_path_factory.mktemp("undisturbed") / "w"
    assert _begin("days", folder).communicate(timeout=300) == ("", "")
    with Warehouse.open_readonly(folder) as written:
        return _rows(written)


@pytest.mark.slow
def test_six_processes_open_a_fresh_folder_and_write_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    symbols = [f"{letter}-USDT" for letter in "ABCDEF"]
    workers = [_begin("write", folder, symbol) for symbol in symbols]
    outputs = [worker.communicate(timeout=300) for worker in workers]
    assert [(worker.returncode, error) for worker, (_, error) in zip(workers, outputs, strict=True)] == [(0, "")] * 6
    with Warehouse.open(folder, market="sample", market_id="seed=7") as warehouse:
        bars = warehouse.read("SELECT symbol, count(*) AS bars FROM market.candles_1m GROUP BY symbol ORDER BY symbol")
        assert bars.rows() == [(symbol, DAYS * 1440) for symbol in symbols]
        assert warehouse.read("SELECT count(*) FROM market.coverage").item() == 6 * DAYS
        assert warehouse.read("SELECT count(DISTINCT key) FROM research.cycle_history").item() == 6 * COMMITS
        runs = warehouse.snapshots()["run_id"].drop_nulls()
        assert sorted(runs.unique()) == sorted(
            f"{symbol}-{number}" for symbol in symbols for number in range(max(DAYS, COMMITS))
        )
        assert runs.len() == 6 * (DAYS + COMMITS)
        schema = warehouse.read("SELECT number FROM meta.schema_migrations")["number"]
        assert schema.n_unique() == schema.len()
        assert warehouse.integrity() == []


def test_an_open_read_blocks_no_writer_and_sees_one_state(warehouse: Warehouse, bars: Bars) -> None:
    with warehouse.transaction("before") as tx:
        tx.append("market.candles_1m", bars(500))
    analyst = _begin("analyse", warehouse.folder)
    assert analyst.stdin is not None
    assert analyst.stdout is not None
    first = analyst.stdout.readline()
    assert first.strip() == "[(500, 50000.0)]"
    for number in range(5):
        with warehouse.transaction(f"during-{number}") as tx:
            tx.replace("market.candles_1m", bars(500 + number, close=101.0), bars(1)["ts"].item())
    assert warehouse.read("SELECT count(*) FROM market.candles_1m").item() == 504
    output, error = analyst.communicate("go on\n", timeout=300)
    assert error == ""
    assert output.splitlines() == [first.strip(), f"[(504, {504 * 101.0})]"]


@pytest.mark.parametrize("seed", range(2))
def test_a_writer_killed_in_its_commits_leaves_a_whole_state_and_can_be_run_again(
    tmp_path: Path, undisturbed: pl.DataFrame, seed: int
) -> None:
    folder = tmp_path / "w"
    killed = _begin("forever", folder, "BTC-USDT")
    assert killed.stdout is not None
    killed.stdout.readline()
    time.sleep(0.05 + 0.23 * seed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=300)
    assert killed.returncode == -signal.SIGKILL
    with Warehouse.open(folder, market="sample", market_id="seed=7") as warehouse:
        days = warehouse.read("SELECT ts::DATE AS day, count(*)::INT AS rows FROM market.candles_1m GROUP BY ALL")
        covered = warehouse.read("SELECT day, rows FROM market.coverage")
        assert days.sort("day").equals(covered.sort("day"))
    assert _begin("days", folder).communicate(timeout=300) == ("", "")
    with Warehouse.open_readonly(folder) as again:
        assert _rows(again).height == DAYS * 1440
        assert _rows(again).equals(undisturbed)
        assert again.integrity() == []


def test_a_killed_holder_of_the_lock_keeps_nobody_waiting(warehouse: Warehouse, bars: Bars) -> None:
    program = (
        "import sys, time; from pathlib import Path; from blofin_resources.warehouse._place import Place\n"
        "with Place.of(Path(sys.argv[1]), None).locked():\n    print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(warehouse.folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.kill()
    holder.communicate()
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", bars(3))
    assert tx.changes[0].added == 3


def test_waiting_for_the_lock_ends_with_a_reason(
    warehouse: Warehouse, bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blofin_resources.warehouse._place.LOCK_SECONDS", 0.2)

    def write() -> None:
        with warehouse.transaction("r") as tx:
            tx.append("market.candles_1m", bars(3))

    # for a thread of its own, the lock that is held here is somebody else's
    with warehouse._place.locked(), ThreadPoolExecutor(1) as pool:
        refused = pool.submit(write).exception()
        assert warehouse.read("SELECT count(*) FROM market.candles_1m").item() == 0
    assert isinstance(refused, WarehouseError)
    assert "catalog.sqlite.lock was held by another process for 0 s" in str(refused)


def test_a_connection_that_was_used_often_is_renewed_and_nothing_shows(
    warehouse: Warehouse, bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blofin_resources.warehouse._warehouse.RENEW_AFTER", 3)
    count, seen, connections = "SELECT count(*) FROM market.candles_1m", [], []
    with ThreadPoolExecutor(1) as other:
        for number in range(4):
            with warehouse.transaction(f"r{number}") as tx:
                tx.append("market.candles_1m", bars(10, first=10 * number))
            seen.append((warehouse.read(count).item(), other.submit(warehouse.read, count).result().item()))
            connections.append(warehouse._connection)
    assert seen == [(rows, rows) for rows in range(10, 50, 10)]
    assert len({id(connection) for connection in connections}) > 1
    assert warehouse.snapshots().height > 4


def test_a_connection_that_cannot_be_renewed_is_kept(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(_: object) -> None:
        msg = "no more connections"
        raise WarehouseError(msg)

    monkeypatch.setattr("blofin_resources.warehouse._warehouse.RENEW_AFTER", 1)
    monkeypatch.setattr("blofin_resources.warehouse._warehouse.connect", refused)
    assert warehouse.read("SELECT 1 AS one").item() == 1
    assert "no more connections" in caplog.text
