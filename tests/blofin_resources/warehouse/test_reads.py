"""Reads: the candle source against plain frames, times, snapshots, coverage."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blofin_resources.errors import WarehouseError
from blofin_resources.warehouse import Warehouse
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MINUTES, TIMEFRAMES, CandleSource, FrameSource, Timeframe

Bars = Callable[..., pl.DataFrame]

EPOCH = datetime(2025, 5, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, bars: Bars) -> tuple[Warehouse, FrameSource]:
    """Two symbols with a gap of a day in one and a late start of the other, and the same rows in plain frames."""
    early, late = bars(2000), bars(1500, first=2000 + 1440)
    other = bars(1000, "ETH-USDT", first=3000).with_columns(flag=pl.lit("single_price"))
    candles = pl.concat([early, late, other], how="diagonal")
    paid = pl.DataFrame(
        {"symbol": "BTC-USDT", "ts": [EPOCH + timedelta(hours=8 * step) for step in range(9)], "rate": 0.0001}
    )
    warehouse = Warehouse.open(tmp_path_factory.mktemp("history") / "w", market="sample")
    listed = pl.DataFrame({"symbol": ["SOL-USDT"], "as_of": [EPOCH], "origin": "sample"})
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", candles.sample(fraction=1, shuffle=True, seed=1))
        tx.append("market.funding_rates", paid.with_columns(origin=pl.lit("sample")))
        tx.append("market.instruments", listed)
    full = pl.concat([pl.DataFrame(schema=CANDLE_SCHEMA), candles.cast({"minutes": pl.Int32})], how="diagonal")
    return warehouse, FrameSource({"1m": full.sort("symbol", "ts")}, paid)


minutes = st.integers(-10, 5200)
symbol_lists = st.lists(st.sampled_from(["BTC-USDT", "ETH-USDT"]), min_size=1, max_size=2, unique=True)


@settings(max_examples=25)
@given(symbols=symbol_lists, first=st.one_of(st.none(), minutes), last=minutes, seconds=st.sampled_from([0, 1, 59]))
def test_candles_and_funding_are_those_of_a_frame(
    history: tuple[Warehouse, FrameSource], symbols: list[str], first: int | None, last: int, seconds: int
) -> None:
    warehouse, frames = history
    start = None if first is None else EPOCH + timedelta(minutes=first)
    end = EPOCH + timedelta(minutes=last, seconds=seconds)
    found = warehouse.candles(symbols, "1m", start, end)
    assert found.schema == CANDLE_SCHEMA
    assert found.equals(frames.candles(symbols, "1m", start, end))
    paid = warehouse.funding(symbols, start, end)
    assert paid.schema == FUNDING_SCHEMA
    assert paid.equals(frames.funding(symbols, start, end))


@settings(max_examples=20)
@given(symbols=symbol_lists, last=minutes, count=st.integers(1, 2500))
def test_last_candles_are_those_of_a_frame(
    history: tuple[Warehouse, FrameSource], symbols: list[str], last: int, count: int
) -> None:
    warehouse, frames = history
    as_of = EPOCH + timedelta(minutes=last)
    found = warehouse.last_candles(symbols, "1m", as_of, count)
    assert found.schema == CANDLE_SCHEMA
    assert found.equals(frames.last_candles(symbols, "1m", as_of, count))


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_a_bar_is_seen_from_its_close_on(
    warehouse: Warehouse, bars: Bars, start: datetime, timeframe: Timeframe
) -> None:
    length = MINUTES[timeframe]
    with warehouse.transaction("r") as tx:
        tx.append(f"market.candles_{timeframe}", bars(1))
        tx.append("market.instruments", pl.DataFrame({"symbol": "BTC-USDT", "as_of": [start], "origin": "sample"}))
    source: CandleSource = warehouse
    close = start + timedelta(minutes=length)
    instant = timedelta(microseconds=1)
    assert source.candles(["BTC-USDT"], timeframe, None, close - instant).height == 0  # type: ignore[arg-type]
    assert source.candles(["BTC-USDT"], timeframe, None, close).height == 1  # type: ignore[arg-type]
    assert source.last_candles(["BTC-USDT"], timeframe, close, 5).height == 1  # type: ignore[arg-type]


def test_unknown_symbols_are_named_and_known_ones_may_be_empty(history: tuple[Warehouse, FrameSource]) -> None:
    warehouse, _ = history
    assert warehouse.known_symbols() == ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
    assert warehouse.candles(["SOL-USDT"], "5m", None, EPOCH).schema == CANDLE_SCHEMA
    assert warehouse.candles([], "1m", None, EPOCH).height == 0
    for read in (
        lambda: warehouse.candles(["BTC-USDT", "DOGE-USDT"], "1m", None, EPOCH),
        lambda: warehouse.last_candles(["DOGE-USDT"], "1m", EPOCH, 1),
        lambda: warehouse.funding(["DOGE-USDT"], None, EPOCH),
    ):
        with pytest.raises(LookupError, match=r"unknown symbol DOGE-USDT; the warehouse has BTC-USDT, ETH-USDT"):
            read()


def test_bad_arguments_are_refused(history: tuple[Warehouse, FrameSource]) -> None:
    warehouse, _ = history
    with pytest.raises(ValueError, match="has no time zone"):
        warehouse.candles(["BTC-USDT"], "1m", None, EPOCH.replace(tzinfo=None))
    with pytest.raises(ValueError, match="at least 1"):
        warehouse.last_candles(["BTC-USDT"], "1m", EPOCH, 0)
    with pytest.raises(LookupError, match="no timeframe '2m'"):
        warehouse.candles(["BTC-USDT"], "2m", None, EPOCH)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="as a list"):
        warehouse.candles("BTC-USDT", "1m", None, EPOCH)
    with pytest.raises(WarehouseError, match=r"cannot answer.*nowhere"):
        warehouse.read("FROM nowhere")


def test_times_and_odd_text_come_back_as_they_went(warehouse: Warehouse) -> None:
    moment = datetime(2025, 3, 30, 1, 30, 0, 123456, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=9)))
    names = ["1000PEPE-USDT", "it's", 'a "quote"', "é,;--", ""]
    rows = pl.DataFrame(
        {"name": names, "version": "1", "event": "active", "begins_at": [elsewhere] * 5, "reason": None}
    )
    with warehouse.transaction("r") as tx:
        tx.append(
            "research.strategy_lifecycle", rows.with_columns(pl.col("begins_at").dt.convert_time_zone("Asia/Tokyo"))
        )
    frame = warehouse.read("SELECT name, begins_at, reason FROM research.strategy_lifecycle")
    assert frame.schema["begins_at"] == pl.Datetime("us", "UTC")
    assert frame["begins_at"].unique().to_list() == [moment]
    assert sorted(frame["name"]) == sorted(names)
    assert frame["reason"].null_count() == 5
    found = warehouse.read("SELECT count(*) FROM research.strategy_lifecycle WHERE begins_at = ?", [elsewhere])
    assert found.item() == 5


def test_the_zone_of_the_machine_does_not_matter(warehouse: Warehouse, bars: Bars) -> None:
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", bars(2 * 1440))
    program = (
        "import sys; from pathlib import Path; from blofin_resources.warehouse import Warehouse\n"
        "w = Warehouse.open_readonly(Path(sys.argv[1]))\n"
        "print(w.read(\"SELECT count(*) FROM market.candles_1m WHERE ts >= '2025-05-31' AND day(ts) = 31\").item())"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(warehouse.folder)],
        env={**os.environ, "TZ": "America/New_York"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "1440"


def test_a_snapshot_can_be_read_again(warehouse: Warehouse, bars: Bars, start: datetime) -> None:
    seen = []
    for number in range(3):
        with warehouse.transaction("r") as tx:
            tx.replace("market.candles_1m", bars(5 + number, close=100.0 + number), start)
            tx.append("research.trials", _trial(number, start))
        seen.append((tx.snapshot, 5 + number, 100.0 + number))
    for snapshot, rows, close in seen:
        assert snapshot is not None
        query = "SELECT count(*) AS rows, max(close) AS close FROM market.candles_1m WHERE close > ?"
        assert warehouse.read_at(snapshot, query, [1.0]).row(0) == (rows, close)
    first = seen[0][0]
    assert first is not None
    assert warehouse.read_at(first - 1, "SELECT count(*) FROM research.trials").item() == 0
    assert warehouse.read("SELECT count(*) FROM research.trials").item() == 3
    with pytest.raises(WarehouseError, match="snapshot 999"):
        warehouse.read_at(999, "FROM research.trials")
    with pytest.raises(WarehouseError, match="cannot answer"):
        warehouse.read_at(first, "FROM research.nothing")


def test_coverage_says_which_days_are_missing(warehouse: Warehouse) -> None:
    days = [date(2025, 5, 30), date(2025, 5, 31), date(2025, 6, 1)]
    midnight = {day: datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=1) for day in days}
    rows = [
        {"dataset": "candles_1m", "symbol": symbol, "day": day, "through": midnight[day], "rows": 1440}
        for symbol, count in (("BTC-USDT", 3), ("ETH-USDT", 2))
        for day in days[:count]
    ]
    noon = datetime(2025, 6, 1, 12, tzinfo=UTC)
    rows.append({"dataset": "candles_1m", "symbol": "ETH-USDT", "day": days[2], "through": noon, "rows": 720})
    with warehouse.transaction("r") as tx:
        tx.append("market.coverage", pl.DataFrame(rows))
    both, span = ["BTC-USDT", "ETH-USDT"], (days[0], date(2025, 6, 3))
    found = warehouse.covered("candles_1m", both, *span)
    assert found.columns == ["symbol", "day", "through", "rows"]
    assert found.height == 6
    assert warehouse.covered("candles_1m", both, days[0], days[1]).height == 2
    assert warehouse.covered("candles_5m", both, *span).height == 0
    assert warehouse.missing_days(["candles_1m"], both, *span) == {"candles_1m": [date(2025, 6, 1), date(2025, 6, 2)]}
    assert warehouse.missing_days(["candles_1m"], both, *span, as_of=noon) == {"candles_1m": []}
    past_noon = noon + timedelta(minutes=1)
    assert warehouse.missing_days(["candles_1m"], both, *span, as_of=past_noon) == {"candles_1m": [date(2025, 6, 1)]}
    assert warehouse.missing_days(["candles_1m"], ["BTC-USDT"], *span) == {"candles_1m": [date(2025, 6, 2)]}
    assert warehouse.missing_days(["candles_5m", "candles_1m"], both, days[0], days[1]) == {
        "candles_5m": [days[0]],
        "candles_1m": [],
    }
    assert warehouse.read("SELECT rows FROM market.coverage_span WHERE symbol = 'ETH-USDT'").item() == 3600


def test_real_candles_come_back_as_they_are(warehouse: Warehouse, real_market: Path) -> None:
    raw = pl.read_parquet(real_market / "BTC-USDT_1m.parquet").head(20_000)
    real = raw.with_columns(
        pl.col("ts").cast(pl.Datetime("us", "UTC")),
        symbol=pl.lit("BTC-USDT"),
        minutes=pl.lit(1),
        origin=pl.lit("archive"),
    )
    with warehouse.transaction("r") as tx:
        tx.append("market.candles_1m", real)
    end = datetime(2100, 1, 1, tzinfo=UTC)
    found = warehouse.candles(["BTC-USDT"], "1m", None, end)
    assert found.select(real.columns).equals(real.sort("ts").cast({"minutes": pl.Int32}))


def _trial(number: int, moment: datetime) -> pl.DataFrame:
    times = dict.fromkeys(("as_of", "window_start", "window_end"), moment)
    return pl.DataFrame(
        [{"id": str(number), "kind": "strategy", "author": "search", "name": "a", "version": "1", **times}]
    )


@pytest.mark.parametrize("nothing", ["", " ; ", "-- only a comment", "/* the same */"])
def test_what_asks_for_nothing_gets_nothing(history: tuple[Warehouse, FrameSource], nothing: str) -> None:
    assert history[0].read(nothing).shape == (0, 0)
    assert history[0].read_at(history[0].snapshot_id(), nothing).shape == (0, 0)


@pytest.mark.parametrize(
    "value", ["INTERVAL 1 DAY", "[INTERVAL 1 DAY]", "{'a': INTERVAL 1 DAY}", "union_value(k := 1)", "now() - now()"]
)
def test_a_type_that_no_frame_holds_is_refused_with_the_way_out(
    history: tuple[Warehouse, FrameSource], value: str
) -> None:
    with pytest.raises(WarehouseError, match=r"column odd is of type .*(INTERVAL|UNION).*; cast it: \.\.\.::VARCHAR"):
        history[0].read(f"SELECT 1 AS fine, {value} AS odd")
    assert history[0].read(f"SELECT ({value})::VARCHAR AS odd").height == 1


def test_a_name_within_a_type_is_none(history: tuple[Warehouse, FrameSource]) -> None:
    frame = history[0].read("""SELECT 'a'::ENUM('a', 'x INTERVAL y') AS e, {'UNION': 1} AS s""")
    assert frame.width == 2


@pytest.mark.parametrize("most", [1, 700, 2_048, 5_000])
def test_the_first_rows_of_a_query_are_those_of_the_whole(history: tuple[Warehouse, FrameSource], most: int) -> None:
    sql = "SELECT *, [minutes] AS listed, {'a': close} AS held, NULL AS none FROM market.candles_1m ORDER BY symbol, ts"
    whole = history[0].read(sql)
    assert whole.height == 4_500
    assert history[0].read(sql, most=most).equals(whole.head(most))
    assert history[0].read("SELECT ts FROM market.candles_1m WHERE false", most=most).schema == {
        "ts": whole["ts"].dtype
    }
    assert history[0].read("SELECT range AS n FROM range(10000000000)", most=most)["n"].to_list() == list(range(most))


@pytest.mark.parametrize("most", [None, 5])
def test_a_query_is_stopped_after_its_seconds_and_the_next_one_is_not(
    history: tuple[Warehouse, FrameSource], most: int | None
) -> None:
    warehouse, _ = history
    endless = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
    with pytest.raises(WarehouseError, match=r"ran longer than 0\.2 s and was stopped; let it read or join less"):
        warehouse.read(endless, most=most, seconds=0.2)
    assert warehouse.read("SELECT 1 AS one", seconds=5).item() == 1
    with pytest.raises(WarehouseError, match="cannot answer this query"):
        warehouse.read("SELECT nothing", seconds=5)
