"""The older system's file: bars as its ticks made them, in whatever batches; anything doubtful is refused by name."""

import os
import random
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from blofin_resources.errors import MarketError
from blofin_resources.market import checks
from blofin_resources.market.legacy.ticks import TABLES, TicksFile
from features.bars import CANDLE_SCHEMA

START = datetime(2026, 2, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
Tick = tuple[object, object, object, object]

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


def _database(path: Path, ticks: Sequence[Tick], schema: str = SCHEMA) -> Path:
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(f"PRAGMA journal_mode=WAL; {schema}")
    insert = "INSERT INTO ticks (ts_ms, symbol, price, source, ts_iso, raw_json) VALUES (?, ?, ?, ?, '', '{}')"
    connection.executemany(insert, ticks)
    connection.commit()
    connection.close()
    return path


def _bars(path: Path, batch: int = 100_000) -> pl.DataFrame:
    with TicksFile(path) as file:
        return pl.concat([pl.DataFrame(schema=CANDLE_SCHEMA), *file.bars(batch=batch)])


def _tick(seconds: float, price: float, source: str = "blofin_ws", symbol: str = "BTC-USDT") -> Tick:
    return START_MS + int(seconds * 1000), symbol, price, source


END = _tick(86_400 * 3, 1.0, symbol="END-USDT")
"""A last tick far off, so that the bars before it are whole."""


def test_ticks_become_bars_of_their_minutes(tmp_path: Path) -> None:
    ticks = [_tick(1, 100.5), _tick(20, 102), _tick(40, 99), _tick(59.999, 101), _tick(60, 103), _tick(90, 104), END]
    bars = _bars(_database(tmp_path / "old.db", ticks))
    assert bars.schema == CANDLE_SCHEMA
    assert bars.select("ts", *checks.PRICES).rows() == [
        (START, 100.5, 102.0, 99.0, 101.0),
        (START + timedelta(minutes=1), 103.0, 104.0, 103.0, 104.0),
    ]
    assert bars.select(pl.col(checks.VOLUMES).null_count()).row(0) == (2, 2, 2)
    assert set(bars["origin"]) == {"ticks"}
    assert bars["flag"].null_count() == 2


def test_backfilled_and_lonely_ticks_are_flagged_and_never_mixed_with_live_ones(tmp_path: Path) -> None:
    ticks = [
        _tick(0, 90, "historical_fill"),
        _tick(10, 100),
        _tick(20, 101),
        _tick(60, 95, "historical_fill"),
        _tick(130, 97),
        END,
    ]
    bars = _bars(_database(tmp_path / "old.db", ticks))
    assert bars.select("open", "low", "flag").rows() == [
        (100.0, 100.0, None),
        (95.0, 95.0, "single_price"),
        (97.0, 97.0, "single_price"),
    ]


def test_a_minute_without_ticks_is_a_missing_row_and_the_last_one_may_not_be_whole(tmp_path: Path) -> None:
    ticks = [_tick(0, 1), _tick(30, 2), _tick(300, 3), _tick(301, 4), _tick(302, 5, symbol="ETH-USDT")]
    bars = _bars(_database(tmp_path / "old.db", ticks))
    assert bars["ts"].to_list() == [START]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 7 * 60_000),
            st.sampled_from(["BTC-USDT", "ETH-USDT"]),
            st.integers(1, 9),
            st.sampled_from(["blofin_ws", "historical_fill"]),
        ),
        max_size=80,
    ),
    st.integers(1, 20),
)
def test_bars_do_not_depend_on_the_batches_and_agree_with_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, raw: list[tuple[int, str, int, str]], batch: int
) -> None:
    ticks: list[Tick] = [(START_MS + ms, symbol, float(price), source) for ms, symbol, price, source in raw]
    path = _database(tmp_path_factory.mktemp("ticks") / "old.db", [*ticks, END])
    bars = _bars(path, batch=batch)
    assert_frame_equal(bars, _bars(path), check_exact=True)
    assert bars.select("symbol", "ts", *checks.PRICES).rows() == _plainly(ticks)


def _plainly(ticks: Sequence[Tick]) -> list[tuple[object, ...]]:
    minutes: dict[tuple[str, int], list[tuple[int, int, float, bool]]] = {}
    for row, (ms, symbol, price, source) in enumerate(ticks):
        key = (str(symbol), int(ms) // 60_000)  # type: ignore[call-overload]
        minutes.setdefault(key, []).append((int(ms), row, float(price), source != "historical_fill"))  # type: ignore[arg-type, call-overload]
    bars = []
    for (symbol, minute), rows in sorted(minutes.items()):
        live = [tick for tick in rows if tick[3]] or rows
        prices = [price for _, _, price, _ in sorted(live)]
        ts = datetime.fromtimestamp(minute * 60, UTC)
        bars.append((symbol, ts, prices[0], max(prices), min(prices), prices[-1]))
    return bars


def test_long_histories_come_in_stretches_of_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(3)  # noqa: S311 - test data
    ticks = [_tick(chance.randrange(6 * 86_400), chance.choice([1, 2, 3])) for _ in range(5000)]
    path = _database(tmp_path / "old.db", ticks)
    whole = _bars(path)
    monkeypatch.setattr("blofin_resources.market.legacy.ticks._BARS_AT_ONCE", 900)
    seen: list[tuple[int, int]] = []
    with TicksFile(path) as file:
        stretches = list(file.bars(progress=lambda read, total: seen.append((read, total)), batch=700))
    assert len(stretches) > 3
    assert_frame_equal(pl.concat(stretches), whole, check_exact=True)
    assert [read for read, _ in seen] == [700, 1400, 2100, 2800, 3500, 4200, 4900, 5000]
    assert {total for _, total in seen} == {5000}
    assert checks.ohlc_order(whole).is_empty()


def test_the_other_tables_are_taken_over_as_they_are(tmp_path: Path) -> None:
    path = _database(tmp_path / "old.db", [END])
    connection = sqlite3.connect(path)
    connection.execute(
        "INSERT INTO strategy_scores VALUES"
        " (1, ?, '', 'breakout', 'BTC-USDT', '7d', 12, 5, 7, 0.41, -0.2, -2.4, 0, 3, 9, 1)",
        [START_MS],
    )
    connection.execute(
        "INSERT INTO knowledge_entries VALUES (1, ?, '', 'lesson', NULL, NULL, 'x', 'y', '{}')", [START_MS]
    )
    connection.commit()
    connection.close()
    with TicksFile(path) as file:
        scores, knowledge = pl.concat(file.table("strategy_scores")), pl.concat(file.table("knowledge_entries"))
        assert list(file.table("strategy_configs")) == []
    assert scores.row(0) == (START, "breakout", "BTC-USDT", "7d", 12, 5, 7, 0.41, -0.2, -2.4, 0.0, 3.0, 9.0, 1)
    assert scores.columns == ["timestamp", *(name for name in TABLES["strategy_scores"] if name != "ts_ms")]
    assert knowledge.row(0) == (START, "lesson", None, None, "x", "y", "{}")


def test_a_file_that_is_still_written_to_is_read_as_of_its_opening(tmp_path: Path) -> None:
    path = _database(tmp_path / "old.db", [_tick(0, 1), _tick(70, 2)])
    writer = sqlite3.connect(path)
    with TicksFile(path) as file:
        writer.execute(
            "INSERT INTO ticks (ts_ms, symbol, price, source) VALUES (?, 'BTC-USDT', 3, 'blofin_ws')",
            [START_MS + 200_000],
        )
        writer.commit()
        before = pl.concat(file.bars())
    writer.close()
    assert before["ts"].to_list() == [START]
    assert len(_bars(path)) == 2


def test_reading_changes_nothing(tmp_path: Path) -> None:
    path = _database(tmp_path / "old.db", [_tick(0, 1), END])
    before = path.read_bytes()
    _bars(path)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_to_is_no_obstacle(tmp_path: Path) -> None:
    path = _database(tmp_path / "old.db", [_tick(0, 1), _tick(1, 2), END])
    tmp_path.chmod(0o555)
    try:
        assert len(_bars(path)) == 1
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize(
    ("tick", "text"),
    [
        ((START_MS, "BTC-USDT", "cheap", "blofin_ws"), r"ticks row 2 has price 'cheap', which is not Float64"),
        ((START_MS + 0.5, "BTC-USDT", 1.0, "blofin_ws"), r"ticks row 2 has ts_ms \d+\.5, which is not Int64"),
        ((START_MS, "BTC-USDT", -1.0, "blofin_ws"), r"ticks row 2 is not a tick .*price -1.0"),
        ((START_MS, "BTC-USDT", None, "blofin_ws"), r"ticks row 2 is not a tick .*price None"),
        ((START_MS, "BTC-USDT", float("inf"), "blofin_ws"), r"ticks row 2 is not a tick .*price inf"),
        ((START_MS, None, 1.0, "blofin_ws"), r"ticks row 2 is not a tick .*symbol None"),
        ((START_MS // 1000, "BTC-USDT", 1.0, "blofin_ws"), r"ticks row 2 is not a tick .*ts_ms 1769904000,"),
    ],
)
def test_a_row_that_is_no_tick_is_refused_before_any_bar(tmp_path: Path, tick: Tick, text: str) -> None:
    path = _database(tmp_path / "old.db", [_tick(0, 1), tick, END])
    with TicksFile(path) as file, pytest.raises(MarketError, match=text):
        next(file.bars(batch=1))


def _absent(path: Path) -> None:
    path.unlink()


def _other(path: Path) -> None:
    path.write_bytes(b"PK" + bytes(5000))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


def _scribble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


def _without_ticks(path: Path) -> None:
    _database(path, [], "CREATE TABLE ticks (ts_ms, symbol, price, source, ts_iso, raw_json)")
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE ticks RENAME TO trades")
    connection.commit()
    connection.close()


def _without_price(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE ticks RENAME COLUMN price TO last")
    connection.commit()
    connection.close()


def _without_window(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute('ALTER TABLE strategy_scores DROP COLUMN "window"')
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_absent, "cannot read .*old.db: No such file"),
        (_other, "is not an SQLite database"),
        (_cut, r"is cut short: \d+ of \d+ bytes"),
        (_scribble, "is damaged"),
        (_without_ticks, "has no table ticks: .*it has: trades"),
        (_without_price, "table ticks lacks the column price; it has: id, ts_ms, ts_iso, symbol, last"),
        (_without_window, "table strategy_scores lacks the column window"),
    ],
)
def test_files_that_cannot_be_trusted_are_refused_with_the_reason(
    tmp_path: Path, spoil: Callable[[Path], None], text: str
) -> None:
    path = _database(tmp_path / "old.db", [_tick(second, 1 + second % 7) for second in range(2000)])
    spoil(path)
    with pytest.raises(MarketError, match=text) as refused:
        _bars(path)
    assert "\n" not in str(refused.value)


def test_a_locked_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blofin_resources.market.legacy.ticks._LOCK_SECONDS", 0.05)
    path = _database(tmp_path / "old.db", [_tick(0, 1), END])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA journal_mode=DELETE")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(MarketError, match="is locked by another program"):
            _bars(path)
    finally:
        holder.close()


def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.db")
    with pytest.raises(MarketError, match=r"pipe.db is not a regular file"):
        TicksFile(tmp_path / "pipe.db")
