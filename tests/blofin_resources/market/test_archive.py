"""Archives: every way that a file may write its times is read alike, and what no market makes is refused by name."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from blofin_resources.errors import MarketError
from blofin_resources.market import checks, open_market
from blofin_resources.market.archive import ArchiveMarket
from blofin_resources.market.base import require_start
from blofin_resources.market.sample import SampleMarket
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MARK_SCHEMA

START = datetime(2025, 1, 1, tzinfo=UTC)
END = START + timedelta(days=1)
TS = pl.col("ts")
Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture
def rows() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "ts": [START + timedelta(minutes=minute) for minute in range(6)],
            "open": [10.0, 11.0, 12.0, 13.0, 14.0, 15.5],
            "high": [11.5, 12.0, 13.0, 14.0, 15.0, 16.0],
            "low": [9.5, 10.0, 11.0, 12.0, 13.0, 14.0],
            "close": [11.0, 12.0, 13.0, 14.0, 15.0, 15.0],
            "volume": [1.0, 2.0, 0.5, 4.0, 0.0, 3.0],
        }
    )


def _write(frame: pl.DataFrame, path: Path) -> ArchiveMarket:
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
    return ArchiveMarket(path.parent)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    "written",
    [
        TS,
        TS.dt.epoch("ms"),
        TS.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        TS.dt.strftime("%Y-%m-%d %H:%M:%S"),
        TS.dt.convert_time_zone("Europe/Athens").dt.strftime("%Y-%m-%dT%H:%M:%S%z"),
        TS.dt.replace_time_zone(None),
        TS.dt.cast_time_unit("ms"),
    ],
)
def test_times_are_read_however_they_are_written(
    rows: pl.DataFrame, tmp_path: Path, suffix: str, written: pl.Expr
) -> None:
    market = _write(rows.with_columns(ts=written), tmp_path / f"AA-USDT_1m.{suffix}")
    candles = market.candles_1m(["AA-USDT"], START, END)
    assert candles.schema == CANDLE_SCHEMA
    assert_frame_equal(candles.select(rows.columns), rows.cast({"ts": CANDLE_SCHEMA["ts"]}))
    assert candles.select(pl.col("quote_volume", "contracts", "flag").null_count()).row(0) == (6, 6, 6)
    assert set(candles["origin"]) == {"archive"}


def test_only_the_range_asked_is_given(rows: pl.DataFrame, tmp_path: Path) -> None:
    market = _write(rows, tmp_path / "AA-USDT_1m.parquet")
    inside = market.candles_1m(["AA-USDT"], START + timedelta(minutes=1), START + timedelta(minutes=3, seconds=59))
    assert inside["ts"].dt.minute().to_list() == [1, 2]
    assert market.coverage("AA-USDT") == (START, START + timedelta(minutes=6))


def test_a_bad_row_outside_the_range_does_not_matter(rows: pl.DataFrame, tmp_path: Path) -> None:
    bad = rows.with_columns(low=pl.when(TS == START).then(-1.0).otherwise("low"))
    market = _write(bad, tmp_path / "AA-USDT_1m.parquet")
    assert len(market.candles_1m(["AA-USDT"], START + timedelta(minutes=1), END)) == 5


def test_gaps_stay_gaps(rows: pl.DataFrame, tmp_path: Path) -> None:
    market = _write(rows.filter(TS.dt.minute() != 2), tmp_path / "AA-USDT_1m.csv")
    assert market.candles_1m(["AA-USDT"], START, END)["ts"].dt.minute().to_list() == [0, 1, 3, 4, 5]


def test_a_repeated_close_without_volume_is_flagged(rows: pl.DataFrame, tmp_path: Path) -> None:
    flat = TS.dt.minute().is_in([4, 5])
    prices = [pl.when(flat).then(15.0).otherwise(name).alias(name) for name in checks.PRICES]
    market = _write(rows.with_columns(prices), tmp_path / "AA-USDT_1m.parquet")
    assert market.candles_1m(["AA-USDT"], START, END)["flag"].to_list() == [None] * 4 + ["single_price", None]


def _set(column: str, value: float | None) -> Change:
    return lambda rows: rows.with_columns(pl.when(TS.dt.minute() == 3).then(value).otherwise(column).alias(column))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_set("open", float("nan")), "2025-01-01T00:03Z: a price that is not positive: open NaN"),
        (_set("low", -1.0), "2025-01-01T00:03Z: a price that is not positive: .*low -1.0"),
        (_set("close", 0.0), "2025-01-01T00:03Z: a price that is not positive: .*close 0.0"),
        (_set("close", None), "2025-01-01T00:03Z: a price that is not positive: .*close null"),
        (_set("high", 12.5), "2025-01-01T00:03Z: high or low inside the bar: .*high 12.5"),
        (_set("volume", -2.0), "2025-01-01T00:03Z: an impossible volume: volume -2.0"),
        (lambda rows: rows.drop("volume", "low"), "lacks the column low, volume; it has: ts, open, high, close"),
        (lambda rows: rows[[0, 2, 1, 3, 4, 5]], "2025-01-01T00:01Z: out of order: comes after the bar of .*00:02Z"),
        (lambda rows: pl.concat([rows, rows[5:]]), "2025-01-01T00:05Z: 2 bars of the same time"),
        (lambda rows: rows.with_columns(TS + timedelta(seconds=7)), "not on the 1m grid .and 5 rows more"),
        (lambda rows: rows.with_columns(ts=TS.replace(START, None)), "a row without ts"),
        (lambda rows: rows.with_columns(ts=pl.lit("yesterday")), "has ts 'yesterday'"),
        (lambda rows: rows.with_columns(ts=1.5), "has ts as Float64"),
        (lambda rows: rows.head(0), "has no rows"),
    ],
)
def test_what_no_market_makes_is_refused_by_file_row_and_value(
    rows: pl.DataFrame, tmp_path: Path, change: Change, text: str
) -> None:
    with pytest.raises(MarketError, match=f"AA-USDT_1m.parquet.*{text}") as refused:
        _write(change(rows), tmp_path / "AA-USDT_1m.parquet").candles_1m(["AA-USDT"], START, END)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("content", [b"", b"PAR1 but not really", bytes(range(256))])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"AA-USDT_1m.{suffix}"
    path.write_bytes(content)
    with pytest.raises(MarketError, match=path.name) as refused:
        ArchiveMarket(tmp_path).candles_1m(["AA-USDT"], START, END)
    assert "\n" not in str(refused.value)


def test_a_word_among_the_numbers_is_named(rows: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "AA-USDT_1m.csv"
    path.write_text(rows.write_csv().replace("13.0", "n/a", 1))
    with pytest.raises(MarketError, match=r"AA-USDT_1m.csv: .*n/a"):
        ArchiveMarket(tmp_path).candles_1m(["AA-USDT"], START, END)


def test_folders_without_candles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MarketError, match="does not exist; set BLOFIN_ARCHIVE"):
        open_market("archive", archive=tmp_path / "none", api_url="", seed=0)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(MarketError, match="holds no candles"):
        open_market("archive", archive=tmp_path, api_url="", seed=0)


def test_unknown_symbols_and_early_dates_name_what_there_is(rows: pl.DataFrame, tmp_path: Path) -> None:
    market = _write(rows, tmp_path / "AA-USDT_1m.parquet")
    with pytest.raises(MarketError, match=r"unknown symbol BB-USDT in archive .*; it has: AA-USDT"):
        market.candles_1m(["BB-USDT"], START, END)
    with pytest.raises(MarketError, match="the first opens at 2025-01-01T00:00Z"):
        market.candles_1m(["AA-USDT"], START - timedelta(days=2), START - timedelta(days=1))
    with pytest.raises(
        MarketError, match=r"2024-12-31T00:00Z is before the first candle of archive .*start at 2025-01-01"
    ):
        require_start(market, ["AA-USDT"], START - timedelta(days=1))


def test_funding_is_optional_and_checked(rows: pl.DataFrame, tmp_path: Path) -> None:
    market = _write(rows, tmp_path / "AA-USDT_1m.parquet")
    assert market.funding(["AA-USDT"], START, END).is_empty()
    rates = pl.DataFrame({"ts": [START, START + timedelta(hours=8)], "rate": [1e-4, -2e-4]})
    rates.write_csv(tmp_path / "AA-USDT_funding.csv")
    paid = market.funding(["AA-USDT"], START, START + timedelta(hours=8))
    assert paid.schema == FUNDING_SCHEMA
    assert paid["rate"].to_list() == [1e-4, -2e-4]
    rates.with_columns(rate=float("nan")).write_csv(tmp_path / "AA-USDT_funding.csv")
    with pytest.raises(MarketError, match=r"AA-USDT_funding.csv.*rate NaN"):
        market.funding(["AA-USDT"], START, END)


def test_real_candles_pass_every_check(real_market: Path) -> None:
    market = ArchiveMarket(real_market)
    symbols = list(market.symbols())
    start = max(market.first_ts(symbol) for symbol in symbols)
    end = min(market.coverage(symbol).through for symbol in symbols)
    candles = market.candles_1m(symbols, start, end)
    assert checks.check_all(candles, "1m", start, end, symbols) == {}
    assert not market.funding(symbols, start, end).is_empty()
    assert market.instruments(symbols, end)["base_currency"].to_list() == [symbol.split("-")[0] for symbol in symbols]


def test_further_volumes_are_read_where_the_file_has_them(tmp_path: Path) -> None:
    start = datetime(2020, 4, 1, tzinfo=UTC)
    made = SampleMarket(7).candles_1m(["BTC-USDT"], start, start + timedelta(hours=1))
    made.write_parquet(tmp_path / "BTC-USDT_1m.parquet")
    made.drop("contracts").write_csv(tmp_path / "ETH-USDT_1m.csv")
    read = ArchiveMarket(tmp_path).candles_1m(["BTC-USDT", "ETH-USDT"], start, start + timedelta(hours=1))
    for name in ("quote_volume", "contracts"):
        assert read.filter(pl.col("symbol") == "BTC-USDT")[name].equals(made[name])
    other = read.filter(pl.col("symbol") == "ETH-USDT")
    assert other["quote_volume"].equals(made["quote_volume"])
    assert other["contracts"].null_count() == 60


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_mark_prices_are_read_where_a_symbol_has_them(rows: pl.DataFrame, tmp_path: Path, suffix: str) -> None:
    _write(rows, tmp_path / "AA-USDT_1m.csv")
    _write(rows, tmp_path / "BB-USDT_1m.csv")
    beyond = rows.with_columns(pl.col("high") + 1.0, pl.col("low") - 1.0)
    market = _write(beyond.drop("volume"), tmp_path / f"BB-USDT_mark.{suffix}")
    assert market.symbols() == ("AA-USDT", "BB-USDT")
    marks = market.mark_candles_1m(["BB-USDT", "AA-USDT"], START + timedelta(minutes=1), START + timedelta(minutes=4))
    assert marks.schema == MARK_SCHEMA
    assert marks.select("symbol", "high", "low").rows() == [
        ("BB-USDT", 13.0, 9.0), ("BB-USDT", 14.0, 10.0), ("BB-USDT", 15.0, 11.0),
    ]  # fmt: skip
    assert market.mark_candles_1m(["AA-USDT"], START, END).is_empty()
    with pytest.raises(MarketError, match="unknown symbol CC-USDT"):
        market.mark_candles_1m(["CC-USDT"], START, END)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.with_columns(low=pl.lit(0.0)), "low"),
        (lambda frame: frame.with_columns(high=pl.lit(1.0)), "high"),
        (lambda frame: frame.reverse(), "out of order"),
        (lambda frame: frame.drop("close"), "lacks the column close"),
        (lambda frame: frame.with_columns(TS + timedelta(seconds=1)), "2025-01-01T00:00Z"),
    ],
)
def test_mark_prices_that_no_market_makes_are_refused(
    rows: pl.DataFrame, tmp_path: Path, change: Change, said: str
) -> None:
    _write(rows, tmp_path / "AA-USDT_1m.csv")
    market = _write(change(rows.drop("volume")), tmp_path / "AA-USDT_mark.csv")
    assert market.candles_1m(["AA-USDT"], START, END).height == 6
    with pytest.raises(MarketError, match=said) as refused:
        market.mark_candles_1m(["AA-USDT"], START, END)
    assert "AA-USDT_mark.csv" in str(refused.value)
