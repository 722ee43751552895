"""Maintenance beside busy writers: nothing lost, what reports name stays readable, fewer files."""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import Warehouse

WORKER = Path(__file__).with_name("worker.py")
SYMBOLS = ("A-USDT", "B-USDT")
HOURS = 16
DAY = timedelta(days=1)
BARS = "SELECT * EXCLUDE (run_id) FROM market.candles_1m ORDER BY symbol, ts"


def begin(folder: Path, symbol: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), "hours", str(folder), symbol]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def name_snapshot(warehouse: Warehouse) -> int:
    """Let a report name the present snapshot, and return it."""
    number, now = warehouse.snapshot_id(), datetime.now(UTC)
    row = {"id": str(number), "report_date": now.date(), "report_json": "{}", "timestamp": now, "as_of": now}
    with warehouse.transaction("report") as tx:
        tx.append("reports.daily_reports", pl.DataFrame([{**row, "snapshot_id": number}]))
    return number


def files(warehouse: Warehouse) -> int:
    return sum(1 for _ in (warehouse.folder / "data").rglob("*.parquet"))


def parts(warehouse: Warehouse, table: str = "market.candles_1m") -> int:
    """Return how many files a table has in the current snapshot."""
    return int(warehouse.storage().filter(pl.col("table_name") == table)["files"].item())


@pytest.mark.slow
def test_beside_busy_writers_nothing_is_lost_and_what_reports_name_stays(tmp_path: Path) -> None:
    folder = tmp_path / "w"
    with Warehouse.open(folder, market="sample", market_id="seed=7") as warehouse:
        writers = [begin(folder, symbol) for symbol in SYMBOLS]
        named: dict[int, pl.DataFrame] = {}
        rounds = []
        while any(writer.poll() is None for writer in writers):
            number = name_snapshot(warehouse)
            named[number] = warehouse.read_at(number, BARS)
            rounds.append(warehouse.maintain(now=datetime.now(UTC), keep_snapshots=timedelta(0)))
            time.sleep(1.0)  # the writers' turn
        outputs = [writer.communicate(timeout=300) for writer in writers]
        assert [(writer.returncode, error) for writer, (_, error) in zip(writers, outputs, strict=True)] == [
            (0, "")
        ] * 2
        assert len(rounds) >= 2
        assert sum(done.merged - done.made for done in rounds) > HOURS / 2

        final = warehouse.read(BARS)
        counts = final.group_by("symbol").agg(pl.len(), pl.col("ts").n_unique().alias("times")).sort("symbol")
        assert counts.rows() == [(symbol, 60 * HOURS, 60 * HOURS) for symbol in SYMBOLS]
        revised = final.filter(pl.col("close") == 100.5).group_by("symbol").len().sort("symbol")
        assert revised.rows() == [(symbol, 60 * (HOURS - 1)) for symbol in SYMBOLS]
        assert warehouse.integrity() == []

        on_disk = files(warehouse)
        later = warehouse.maintain(now=datetime.now(UTC) + 2 * DAY + timedelta(minutes=1))
        assert later.deleted > HOURS / 2
        assert files(warehouse) < on_disk / 2
        assert parts(warehouse) <= 8
        assert warehouse.read(BARS).equals(final)
        for number, seen in named.items():
            assert warehouse.read_at(number, BARS).equals(seen), number
        assert set(named) <= set(warehouse.snapshots()["snapshot_id"])
        assert warehouse.snapshots().height < len(named) + 5


@pytest.fixture
def written(warehouse: Warehouse, bars: Callable[..., pl.DataFrame]) -> Warehouse:
    for number in range(6):
        with warehouse.transaction(f"run-{number}") as tx:
            tx.append("market.candles_1m", bars(60, first=60 * number))
    return warehouse


def test_named_snapshots_go_at_a_stated_age_but_for_the_last_of_each_table(written: Warehouse) -> None:
    first = name_snapshot(written)
    last = name_snapshot(written)
    now = datetime.now(UTC) + 10 * DAY
    written.maintain(now=now, keep_named=11 * DAY)
    assert {first, last} <= set(written.snapshots()["snapshot_id"])
    written.maintain(now=now, keep_named=9 * DAY)
    left = set(written.snapshots()["snapshot_id"])
    assert first not in left
    assert last in left


@pytest.mark.slow
def test_snapshots_of_late_are_kept_and_of_the_older_those_that_rows_name(written: Warehouse) -> None:
    number = written.snapshot_id() - 2
    row = {"id": "t", "as_of": datetime.now(UTC), "kind": "strategy", "author": "library", "name": "n", "version": "1"}
    window = {"window_start": row["as_of"], "window_end": row["as_of"], "snapshot_id": number}
    with written.transaction("trial") as tx:
        tx.append("research.trials", pl.DataFrame([{**row, **window}]))
    before = set(written.snapshots()["snapshot_id"])
    now = datetime.now(UTC)
    assert written.maintain(now=now).expired == 0
    assert before <= set(written.snapshots()["snapshot_id"])
    done = written.maintain(now=now + 3 * DAY)
    left = set(written.snapshots()["snapshot_id"])
    assert number in left
    assert done.expired == len(before) + 2 - len(left)
    assert len(left) <= 3


@pytest.mark.slow
def test_small_rows_leave_the_catalog_and_storage_says_where_they_are(warehouse: Warehouse) -> None:
    moment = datetime.now(UTC)
    row = {"cycle": "x", "key": "k", "as_of": moment, "state": "due", "happened_at": moment}
    with warehouse.transaction("run") as tx:
        tx.append("research.cycle_history", pl.DataFrame([row]))

    def of(table: str) -> dict[str, object]:
        return warehouse.storage().row(by_predicate=pl.col("table_name") == table, named=True)

    assert (of("research.cycle_history")["files"], of("research.cycle_history")["inlined_rows"]) == (0, 1)
    assert warehouse.maintain(now=moment).flushed > 0
    assert (of("research.cycle_history")["files"], of("research.cycle_history")["inlined_rows"]) == (1, 0)
    assert int(str(of("*")["bytes"])) > int(str(of("research.cycle_history")["bytes"])) > 0
    assert warehouse.read("SELECT key FROM research.cycle_history").item() == "k"


@pytest.mark.slow
def test_only_orphans_that_are_a_day_old_go(written: Warehouse) -> None:
    stray = written.folder / "data" / "market" / "candles_1m" / "stray.parquet"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"a running writer's")
    now = datetime.now(UTC)
    assert written.maintain(now=now + DAY + timedelta(minutes=1)).orphans == 1
    assert not stray.exists()
    with pytest.raises(WarehouseError, match="1 day"):
        written.maintain(now=now, keep_files=timedelta(hours=23))
