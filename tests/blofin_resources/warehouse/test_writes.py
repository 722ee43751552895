"""What a replace and an append do, once, again, and when they must not."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import Change, Transaction, Warehouse

Bars = Callable[..., pl.DataFrame]
Write = Callable[[Transaction, pl.DataFrame, datetime], None]

EPOCH = datetime(2025, 5, 30, tzinfo=UTC)
SYMBOLS = ("BTC-USDT", "ETH-USDT")
HOUR = timedelta(hours=1)

Key = tuple[str, int]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    with Warehouse.open(tmp_path_factory.mktemp("shared") / "w", market="sample") as opened:
        yield opened


keys = st.tuples(st.sampled_from(SYMBOLS), st.integers(0, 71))
values = st.one_of(st.none(), st.sampled_from([0.0, 1.5, float("inf"), float("nan")]))
tables = st.dictionaries(keys, values, max_size=8)
bounds = st.one_of(st.none(), st.integers(0, 72))
replaces = st.tuples(st.just("replace"), tables, bounds, bounds, st.sets(st.sampled_from(SYMBOLS)))
appends = st.tuples(st.just("append"), tables, st.none(), st.none(), st.just(set()))


def _rows(table: dict[Key, float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "volume": list(table.values()),
            "ts": [EPOCH + HOUR * hour for _, hour in table],
            "symbol": [symbol for symbol, _ in table],
            "origin": "sample",
            "minutes": 60,
            **dict.fromkeys(("open", "high", "low", "close"), 1.0),
        },
        schema_overrides={"symbol": pl.String, "ts": pl.Datetime("us", "UTC"), "volume": pl.Float64},
    )


def _stored(warehouse: Warehouse) -> dict[Key, float | None]:
    frame = warehouse.read("SELECT symbol, ts, volume FROM market.candles_60m")
    found = {(symbol, (ts - EPOCH) // HOUR): volume for symbol, ts, volume in frame.iter_rows()}
    assert len(found) == frame.height
    return found


@pytest.mark.slow
@settings(max_examples=8)
@given(steps=st.lists(st.one_of(replaces, appends), max_size=4))
def test_writes_do_what_a_dictionary_would_and_a_second_time_nothing(shared: Warehouse, steps: list[Any]) -> None:
    with shared.transaction("clear") as tx:
        tx.replace("market.candles_60m", _rows({}), EPOCH)
    model: dict[Key, float | None] = {}
    for number, (kind, table, first, last, symbols) in enumerate(steps):
        start = None if first is None else EPOCH + HOUR * first
        end = None if last is None else EPOCH + HOUR * last
        equals = {"symbol": sorted(symbols)} if symbols or start is None is end else {}

        def inside(key: Key, first: int | None = first, last: int | None = last, equals: Any = equals) -> bool:
            after = first is None or key[1] >= first
            before = last is None or key[1] < last
            return after and before and (not equals or key[0] in equals["symbol"])

        if kind == "replace":
            table = {key: value for key, value in table.items() if inside(key)}  # noqa: PLW2901 - what fits the scope
            model = {key: value for key, value in model.items() if not inside(key)} | table
        else:
            model = table | model
        snapshots = []
        for attempt in range(2):
            with shared.transaction(f"run {number}.{attempt}") as tx:
                if kind == "replace":
                    tx.replace("market.candles_60m", _rows(table), start, end, **equals)
                else:
                    tx.append("market.candles_60m", _rows(table))
            snapshots.append(tx.snapshot)
        assert snapshots[0] == snapshots[1]
        # NaN is no value
        model = {key: None if value != value else value for key, value in model.items()}  # noqa: PLR0124 - NaN alone
        assert _stored(shared) == model
        runs = shared.read("SELECT DISTINCT run_id FROM market.candles_60m")["run_id"]
        assert not [run for run in runs if run.endswith(".1")]


def test_unchanged_rows_keep_the_run_that_wrote_them(warehouse: Warehouse, bars: Bars, start: datetime) -> None:
    with warehouse.transaction("first") as tx:
        tx.replace("market.candles_1m", bars(4), start)
    changed = bars(5).with_columns(close=pl.when(pl.col("volume") == 1).then(99.5).otherwise("close"))
    with warehouse.transaction("second") as tx:
        tx.replace("market.candles_1m", changed, start)
    assert tx.changes == [Change("market.candles_1m", added=2, removed=1, given=5)]
    runs = warehouse.read("SELECT run_id FROM market.candles_1m ORDER BY ts")["run_id"].to_list()
    assert runs == ["first", "second", "first", "first", "second"]


def test_a_replace_with_nothing_empties_its_scope_alone(warehouse: Warehouse, bars: Bars, start: datetime) -> None:
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", pl.concat([bars(3000), bars(3000, "ETH-USDT")]))
    with warehouse.transaction("r") as tx:
        tx.replace("market.candles_1m", bars(0), start.date(), date(2025, 5, 31), symbol="BTC-USDT")
    left = warehouse.read("SELECT symbol, count(*) AS rows FROM market.candles_1m GROUP BY symbol ORDER BY symbol")
    assert left.rows() == [("BTC-USDT", 1560), ("ETH-USDT", 3000)]


def test_several_tables_are_written_in_one_snapshot_that_names_the_run(
    warehouse: Warehouse, bars: Bars, start: datetime
) -> None:
    before = warehouse.snapshot_id()
    with warehouse.transaction("the-run") as tx:
        tx.replace("market.candles_1m", bars(10), start)
        tx.append("market.coverage", _coverage(start, 10))
        assert tx.snapshot is None
        assert warehouse.snapshot_id() == before
    assert tx.snapshot == before + 1 == warehouse.snapshot_id()
    assert warehouse.snapshots().row(-1, named=True)["run_id"] == "the-run"
    assert warehouse.read("SELECT run_id FROM market.coverage").item() == "the-run"


def test_nothing_is_written_if_the_block_or_a_write_fails(warehouse: Warehouse, bars: Bars, start: datetime) -> None:
    before = warehouse.snapshot_id()

    def stop_in_the_block() -> None:
        with warehouse.transaction("r") as tx:
            tx.replace("market.candles_1m", bars(10), start)
            raise ZeroDivisionError

    def stop_in_the_third_write() -> None:
        with warehouse.transaction("r") as tx:
            tx.append("market.coverage", _coverage(start, 10))
            tx.append("market.candles_1m", bars(1))
            tx.append("market.candles_1m", bars(3).with_columns(volume=pl.lit(1.0)), key=["symbol", "ts", "volume"])

    with pytest.raises(ZeroDivisionError):
        stop_in_the_block()
    with pytest.raises(WarehouseError, match="already holds another row"):
        stop_in_the_third_write()
    assert warehouse.snapshot_id() == before
    assert warehouse.read("SELECT count(*) FROM market.coverage").item() == 0
    with warehouse.transaction("r") as tx:
        tx.replace("market.candles_1m", bars(10), start)
    assert warehouse.read("SELECT count(*) FROM market.candles_1m").item() == 10


def test_no_lock_is_held_while_the_block_computes(warehouse: Warehouse, bars: Bars, start: datetime) -> None:
    with Warehouse.open(warehouse.folder, market="sample", market_id="seed=7") as other:
        with warehouse.transaction("slow") as slow:
            slow.replace("market.candles_1m", bars(3), start, symbol="BTC-USDT")
            with other.transaction("quick") as quick:
                quick.replace("market.candles_1m", bars(3, "ETH-USDT"), start, symbol="ETH-USDT")
        assert warehouse.read("SELECT count(*) FROM market.candles_1m").item() == 6


def test_columns_of_the_writing_do_not_count(warehouse: Warehouse, start: datetime) -> None:
    row = pl.DataFrame({"id": "a", "report_date": [start.date()], "report_json": "{}", "as_of": [start]})
    table = "reports.daily_reports"
    for later in range(2):
        written = row.with_columns(timestamp=pl.lit(start + later * HOUR), snapshot_id=pl.lit(later))
        with warehouse.transaction(f"r{later}") as tx:
            tx.replace(table, written, as_of=start)
    assert tx.changes[0].added == 0
    stored = f'SELECT "timestamp", snapshot_id, run_id FROM {table}'
    assert warehouse.read(stored).row(0) == (start, 0, "r0")
    with warehouse.transaction("r3") as tx:
        tx.replace(table, written.with_columns(report_json=pl.lit("[]")), as_of=start)
    assert tx.changes[0].added == 1
    assert warehouse.read(stored).row(0) == (start + HOUR, 1, "r3")


def test_scopes_by_null_by_list_and_by_nothing_in_a_list(warehouse: Warehouse, bars: Bars, start: datetime) -> None:
    flagged = bars(4).with_columns(flag=pl.Series([None, "incomplete", None, "repaired"]))
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", flagged)
    for flag, left in (
        (None, ["incomplete", "repaired"]),
        ([], ["incomplete", "repaired"]),
        (["repaired"], ["incomplete"]),
    ):
        with warehouse.transaction("r") as tx:
            tx.replace("market.candles_1m", bars(0), start, flag=flag)
        found = warehouse.read("SELECT flag FROM market.candles_1m ORDER BY ts")["flag"].to_list()
        assert found == left


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda tx, rows, start: tx.replace("market.nothing", rows, start), "no table market.nothing"),
        (lambda tx, rows, _: tx.append("nothing", rows), "no table nothing"),
        (lambda tx, rows, _: tx.replace("market.candles_1m", rows), "needs a scope"),
        (lambda tx, rows, start: tx.replace("market.candles_1m", rows, start, sybmol="x"), "no column sybmol; it has"),
        (lambda tx, rows, _: tx.append("market.candles_1m", rows, key=["x"]), "no column x"),
        (lambda tx, rows, start: tx.replace("market.candles_1m", rows, start + HOUR), "outside.*2025-05-30T00:00"),
        (lambda tx, rows, _: tx.replace("market.candles_1m", rows, symbol="ETH-USDT"), "outside.*BTC-USDT"),
        (lambda tx, rows, _: tx.replace("market.candles_1m", rows, flag="x"), "outside.*flag = None"),
        (lambda tx, rows, start: tx.replace("market.candles_1m", rows, start.replace(tzinfo=None)), "no time zone"),
        (lambda tx, rows, _: tx.append("market.candles_1m", rows.with_columns(x=1, y=2)), "no column x, y"),
        (lambda tx, rows, _: tx.append("market.candles_1m", rows.drop("open", "low")), "a value for open, low"),
        (
            lambda tx, rows, _: tx.append("market.candles_1m", rows.with_columns(open=float("nan"))),
            "no value for open",
        ),
        (
            lambda tx, rows, _: tx.append("market.candles_1m", rows.with_columns(close=pl.lit(None))),
            "no value for close",
        ),
        (
            lambda tx, rows, _: tx.append("market.candles_1m", rows.with_columns(minutes=pl.lit("many"))),
            "cannot take.*many",
        ),
        (
            lambda tx, rows, _: tx.append(
                "market.candles_1m", rows.with_columns(pl.col("ts").dt.replace_time_zone(None))
            ),
            "without a time zone in ts",
        ),
        (
            lambda tx, rows, _: tx.append("market.candles_1m", pl.concat([rows, rows.tail(1)])),
            "one row for each symbol, ts.*BTC-USDT, 2025-05-30T00:02",
        ),
        (
            lambda tx, rows, _: tx.append("market.candles_1m", rows, key=["symbol"]),
            "one row for each symbol, but",
        ),
    ],
)
def test_a_bad_write_is_refused_by_name(
    shared: Warehouse, bars: Bars, start: datetime, write: Write, message: str
) -> None:
    before = shared.snapshot_id()
    with pytest.raises(WarehouseError, match=message) as refused, shared.transaction("r") as tx:
        write(tx, bars(3), start)
    assert "\n" not in str(refused.value)
    assert shared.snapshot_id() == before


def test_a_replace_may_not_take_a_key_outside_its_scope(warehouse: Warehouse, bars: Bars) -> None:
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", bars(3))
    with (
        pytest.raises(WarehouseError, match="already holds another row of symbol, ts"),
        warehouse.transaction("r") as tx,
    ):
        tx.replace("market.candles_1m", bars(3).with_columns(origin=pl.lit("ticks")), origin="ticks")
    assert warehouse.integrity() == []


@pytest.mark.parametrize("run_id", ["", " ", "none"])
def test_a_write_names_its_run(shared: Warehouse, run_id: str) -> None:
    with pytest.raises(WarehouseError, match="is not a run id"), shared.transaction(run_id):
        pass


def test_integrity_finds_what_was_written_past_the_checks(warehouse: Warehouse, bars: Bars) -> None:
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", bars(3))
    assert warehouse.integrity() == []
    cursor = warehouse.cursor()
    cursor.execute("INSERT INTO market.candles_1m SELECT * FROM market.candles_1m LIMIT 2")
    assert warehouse.integrity() == ["market.candles_1m holds more than one row for 2 values of (symbol, ts)"]


def test_threads_share_one_warehouse(warehouse: Warehouse, bars: Bars, start: datetime) -> None:
    failed: list[BaseException] = []

    def work(symbol: str) -> None:
        try:
            for number in range(5):
                with warehouse.transaction(f"{symbol} {number}") as tx:
                    tx.replace("market.candles_1m", bars(20, symbol, close=100.0 + number), start, symbol=symbol)
                frame = warehouse.read("SELECT close FROM market.candles_1m WHERE symbol = ?", [symbol])
                assert frame["close"].to_list() == [100.0 + number] * 20
        except BaseException as error:  # noqa: BLE001 - a thread's failure is reported below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(f"{letter}-USDT",)) for letter in "ABCD"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert warehouse.read("SELECT count(*) FROM market.candles_1m").item() == 80


def test_views_say_who_is_active_and_ranked(warehouse: Warehouse, start: datetime) -> None:
    def event(name: str, what: str, at: datetime) -> dict[str, object]:
        return {"name": name, "version": "1", "event": what, "begins_at": at}

    events = [event("a", "candidate", start), event("a", "active", start), event("b", "active", start)]
    ranks = [
        {
            "as_of": start + day * 24 * HOUR,
            "kind": "strategy",
            "rank": rank,
            "name": name,
            "version": "1",
            "status": "x",
        }
        for day, order in enumerate(("ab", "ba"))
        for rank, name in enumerate(order, start=1)
    ]
    model = {"as_of": start, "kind": "model", "rank": 1, "name": "m", "version": "1", "status": "x"}
    with warehouse.transaction("r") as tx:
        tx.append("research.strategy_lifecycle", pl.DataFrame([*events, event("b", "archived", start + HOUR)]))
        tx.append("research.ranking_history", pl.DataFrame([*ranks, model]))
    states = warehouse.read("SELECT name, state, since FROM research.strategy_state ORDER BY name").rows()
    assert states == [("a", "active", start), ("b", "archived", start + HOUR)]
    ranking = warehouse.read("SELECT kind, rank, name FROM research.current_ranking").rows()
    assert ranking == [("model", 1, "m"), ("strategy", 1, "b"), ("strategy", 2, "a")]


def test_a_folder_that_is_gone_is_no_traceback(warehouse: Warehouse, bars: Bars, tmp_path: Path) -> None:
    warehouse.folder.rename(tmp_path / "away")
    (tmp_path / "warehouse").write_text("in the way")
    with (
        pytest.raises(WarehouseError, match=r"(no longer reachable|cannot be written)"),
        warehouse.transaction("r") as tx,
    ):
        tx.append("market.candles_1m", bars(100))


def _coverage(day: datetime, rows: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"dataset": "candles_1m", "symbol": "BTC-USDT", "day": [day.date()], "through": [day + HOUR], "rows": rows}
    )
