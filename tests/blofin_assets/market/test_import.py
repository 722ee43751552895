"""`blofin import-ticks`: bars that fill and never replace, tables taken over, refusals in one line."""

import json
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from support.command import blofin, refused

from blofin_resources.errors import WarehouseError
from blofin_resources.market.legacy.import_ticks import import_ticks
from blofin_resources.market.legacy.ticks import TicksFile
from blofin_resources.market.sample import SampleMarket
from blofin_resources.settings import Settings
from blofin_resources.warehouse import Warehouse

pytestmark = pytest.mark.slow

START = datetime(2026, 2, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
MINUTE = timedelta(minutes=1)

SCHEMA = """
CREATE TABLE ticks (id INTEGER PRIMARY KEY, ts_ms INTEGER, ts_iso TEXT, symbol TEXT, price REAL, source TEXT,
    raw_json TEXT);
CREATE TABLE strategy_scores (id INTEGER PRIMARY KEY, ts_ms INTEGER, ts_iso TEXT, strategy TEXT, symbol TEXT,
    "window" TEXT, trades INTEGER, wins INTEGER, losses INTEGER, win_rate REAL, avg_pnl_pct REAL, total_pnl_pct REAL,
    sharpe_ratio REAL, max_drawdown_pct REAL, score REAL, enabled INTEGER);
CREATE TABLE knowledge_entries (id INTEGER PRIMARY KEY, ts_ms INTEGER, ts_iso TEXT, category TEXT, strategy TEXT,
    symbol TEXT, content TEXT, source TEXT, metadata TEXT);
CREATE TABLE strategy_configs (id INTEGER PRIMARY KEY, ts_ms INTEGER, ts_iso TEXT, strategy TEXT, config_json TEXT,
    source TEXT, note TEXT);
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Ten minutes of two live ticks each, a backfilled one, a score twice, knowledge and a configuration."""
    path = tmp_path / "blofin_monitor.db"
    connection = sqlite3.connect(path)
    connection.executescript(f"PRAGMA journal_mode=WAL; {SCHEMA}")
    ticks = [(START_MS + 30_000 * n, "BTC-USDT", 100.0 + n % 7, "blofin_ws") for n in range(20)]
    ticks += [(START_MS + 900_000, "BTC-USDT", 90.0, "historical_fill"), (START_MS + 999_000, "BTC-USDT", 91, "x")]
    connection.executemany("INSERT INTO ticks (ts_ms, symbol, price, source) VALUES (?, ?, ?, ?)", ticks)
    score = (START_MS, "breakout", None, "7d", 12, 5, 7, 0.41, -0.2, -2.4, 0.1, 3.0, 9.0, 1)
    connection.executemany(
        'INSERT INTO strategy_scores (ts_ms, strategy, symbol, "window", trades, wins, losses, win_rate, '
        "avg_pnl_pct, total_pnl_pct, sharpe_ratio, max_drawdown_pct, score, enabled) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [score, score],
    )
    connection.execute(
        "INSERT INTO knowledge_entries VALUES (1, ?, '', 'lesson', NULL, NULL, 'it rains', 'me', '{}')", [START_MS]
    )
    connection.execute("INSERT INTO strategy_configs VALUES (1, ?, '', 'breakout', '{\"n\": 3}', 'me', '')", [START_MS])
    connection.commit()
    connection.close()
    return path


def run_import(folder: Path, path: Path, run_id: str = "import") -> tuple[dict[str, int], pl.DataFrame]:
    with Warehouse.open(folder, market="blofin") as store, TicksFile(path) as file:
        done = import_ticks(store, file, run_id=run_id)
        return dict(done.added), store.read("SELECT * FROM market.candles_1m ORDER BY symbol, ts")


def test_the_command_takes_everything_over_once_and_says_from_where(old: Path) -> None:
    done = blofin("import-ticks", str(old))
    assert done.returncode == 0, done.stderr
    assert "BLOFIN_MARKET=blofin" in done.stdout
    with Warehouse.open_readonly(Path("warehouse")) as store:
        bars = store.read("SELECT * FROM market.candles_1m ORDER BY ts")
        scores = store.read("SELECT * FROM research.strategy_scores")
        knowledge = store.read("SELECT * FROM research.knowledge_entries")
        configs = store.read("SELECT * FROM research.strategy_configs")
        assert store.integrity() == []
    assert bars["origin"].unique().to_list() == ["ticks"]
    assert bars["volume"].null_count() == bars.height == 11
    assert bars["flag"].to_list() == [None] * 10 + ["single_price"]
    assert scores.select("strategy", "symbol", "window", "trades", "enabled", "as_of").rows() == [
        ("breakout", "*", "7d", 12, True, START)
    ]
    assert knowledge["content"].to_list() == ["it rains"]
    assert configs["config_json"].to_list() == ['{"n": 3}']
    for rows in (bars, scores, knowledge, configs):
        assert set(rows["run_id"]) == {f"blofin import-ticks {old.name}"}
    refused(blofin("run"), "holds the market blofin")
    with open_as_told() as store:
        assert store.snapshot_id() > 0


@pytest.mark.parametrize("market", ["blofin", "archive"])
def test_a_warehouse_of_imported_ticks_that_has_no_id_takes_that_of_the_first_to_go_on(old: Path, market: str) -> None:
    folder = Path("warehouse")
    Warehouse.open(folder, market=market).close()  # as an older version's import left it
    Warehouse.open(folder, market=market, market_id="theirs").close()
    with pytest.raises(WarehouseError, match=f"holds the market {market} theirs, not {market} others"):
        Warehouse.open(folder, market=market, market_id="others")
    done = blofin("import-ticks", str(old), "--json")
    assert done.returncode == 0, "it goes into whatever real market is there"
    tables = {each["table"]: each["new"] for each in json.loads(done.stdout)["tables"]}
    assert tables["knowledge_entries"] == 1


def test_a_synthetic_market_takes_no_id_later() -> None:
    Warehouse.open(Path("warehouse"), market="sample").close()
    with pytest.raises(WarehouseError, match="holds the market sample, not sample seed=7"):
        Warehouse.open(Path("warehouse"), market="sample", market_id="seed=7")


def open_as_told() -> Warehouse:
    """Open the warehouse as every command does with the setting that the import ends with."""
    settings = Settings(market="blofin")
    return Warehouse.open(Path("warehouse"), market=settings.market, market_id=settings.market_id)


def test_an_import_fills_minutes_and_replaces_no_bar_and_makes_due_what_it_changes(old: Path, tmp_path: Path) -> None:
    mine = SampleMarket(7).candles(["BTC-USDT"], "1m", START, START + 3 * MINUTE).with_columns(origin=pl.lit("blofin"))
    end = START + timedelta(days=1)
    row = {"symbol": "BTC-USDT", "day": START.date(), "through": end, "rows": 3}
    coverage = [{"dataset": name, **row} for name in ("candles_1m", "candles_5m", "features_5m", "funding_rates")]
    with Warehouse.open(tmp_path / "w", market="blofin") as store, store.transaction("before") as tx:
        tx.append("market.candles_1m", mine)
        tx.append("market.coverage", pl.DataFrame(coverage))
    added, bars = run_import(tmp_path / "w", old)
    assert added == {"candles_1m": 8, "strategy_scores": 1, "knowledge_entries": 1, "strategy_configs": 1}
    assert bars["origin"].to_list() == ["blofin"] * 3 + ["ticks"] * 8
    assert bars.head(3).select(mine.columns).equals(mine)
    with Warehouse.open_readonly(tmp_path / "w") as store:
        left = store.read("SELECT dataset, through, rows FROM market.coverage ORDER BY dataset")
    assert left.rows() == [("candles_1m", end, 11), ("funding_rates", end, 3)]
    again, same = run_import(tmp_path / "w", old, "again")
    assert set(again.values()) == {0}
    assert same.equals(bars)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"not a database" * 20, "is not an SQLite database")],
)
def test_a_file_that_is_none_is_refused_before_a_warehouse_is_made(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "old.db"
    if content is not None:
        path.write_bytes(content)
    refused(blofin("import-ticks", str(path)), str(path), words)
    assert not Path("warehouse").exists()


def test_a_tick_that_is_none_is_refused_and_nothing_is_stored(old: Path) -> None:
    connection = sqlite3.connect(old)
    connection.execute("INSERT INTO ticks (ts_ms, symbol, price) VALUES (?, 'BTC-USDT', -1)", [START_MS])
    connection.commit()
    connection.close()
    refused(blofin("import-ticks", str(old)), "is not a tick", "-1")
    with Warehouse.open_readonly(Path("warehouse")) as store:
        for table in ("market.candles_1m", "research.strategy_scores", "research.knowledge_entries"):
            assert store.read(f"SELECT * FROM {table}").is_empty()


def test_real_ticks_do_not_go_among_synthetic_bars(old: Path) -> None:
    Warehouse.open(Path("warehouse"), market="sample", market_id="seed=7").close()
    refused(blofin("import-ticks", str(old)), "synthetic market sample", "BLOFIN_WAREHOUSE")


def test_help_and_import_wait_for_no_library_that_they_do_not_use() -> None:
    heavy = "{'dagster', 'numba', 'scipy', 'sklearn', 'lightgbm', 'torch', 'optuna', 'anthropic', 'httpx'}"
    code = f"import sys, blofin_assets.cli.main, blofin_assets.cli.import_ticks; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
