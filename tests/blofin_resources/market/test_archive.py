"""Archives: every way that a file may write its times is read alike, and what no market makes is refused by name."""

import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from blofin_resources.errors import MarketError
from blofin_resources.market import checks, open_market
from blofin_resources.market.archive import ArchiveMarket
from blofin_resources.market.sample import SampleMarket
from blofin_resources.market.source import LISTING_SCHEMA, require_start
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MARK_SCHEMA, POSITIONING_SCHEMA

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
        TS.dt.epoch("s"),
        TS.dt.epoch("ms"),
        TS.dt.epoch("us"),
        TS.dt.epoch("ns"),
        TS.dt.epoch("s").cast(pl.Int32),
        TS.dt.epoch("ms").cast(pl.UInt64),
        TS.dt.epoch("s").cast(pl.Float64),
        TS.dt.epoch("us").cast(pl.Float64),
        TS.dt.epoch("ms").cast(pl.String),
        TS.dt.strftime("%Y-%m-%dT%H:%MZ"),
        TS.dt.strftime("%Y-%m-%d %H:%M:%S.000+0000"),
        TS.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        TS.dt.strftime("%Y-%m-%d %H:%M:%S"),
        TS.dt.convert_time_zone("Europe/Athens").dt.strftime("%Y-%m-%dT%H:%M:%S%z"),
        TS.dt.replace_time_zone(None),
        TS.dt.cast_time_unit("ms"),
        TS.dt.cast_time_unit("ns"),
    ],
)
def test_times_are_read_however_they_are_written(
    rows: pl.DataFrame, tmp_path: Path, suffix: str, written: pl.Expr
) -> None:
    market = _write(rows.with_columns(ts=written), tmp_path / f"AA-USDT_1m.{suffix}")
    candles = market.candles(["AA-USDT"], "1m", START, END)
    assert candles.schema == CANDLE_SCHEMA
    assert_frame_equal(candles.select(rows.columns), rows.cast({"ts": CANDLE_SCHEMA["ts"]}))
    assert candles.select(pl.col("quote_volume", "contracts", "flag").null_count()).row(0) == (6, 6, 6)
    assert set(candles["origin"]) == {"archive"}


def test_only_the_range_asked_is_given(rows: pl.DataFrame, tmp_path: Path) -> None:
    market = _write(rows, tmp_path / "AA-USDT_1m.parquet")
    inside = market.candles(["AA-USDT"], "1m", START + timedelta(minutes=1), START + timedelta(minutes=3, seconds=59))
    assert inside["ts"].dt.minute().to_list() == [1, 2]
    assert market.coverage("AA-USDT") == (START, START + timedelta(minutes=6))


def test_a_bad_row_outside_the_range_does_not_matter(rows: pl.DataFrame, tmp_path: Path) -> None:
    bad = rows.with_columns(low=pl.when(TS == START).then(-1.0).otherwise("low"))
    market = _write(bad, tmp_path / "AA-USDT_1m.parquet")
    assert len(market.candles(["AA-USDT"], "1m", START + timedelta(minutes=1), END)) == 5


def test_gaps_stay_gaps(rows: pl.DataFrame, tmp_path: Path) -> None:
    market = _write(rows.filter(TS.dt.minute() != 2), tmp_path / "AA-USDT_1m.csv")
    assert market.candles(["AA-USDT"], "1m", START, END)["ts"].dt.minute().to_list() == [0, 1, 3, 4, 5]


def test_a_repeated_close_without_volume_is_flagged(rows: pl.DataFrame, tmp_path: Path) -> None:
    flat = TS.dt.minute().is_in([4, 5])
    prices = [pl.when(flat).then(15.0).otherwise(name).alias(name) for name in checks.PRICES]
    market = _write(rows.with_columns(prices), tmp_path / "AA-USDT_1m.parquet")
    assert market.candles(["AA-USDT"], "1m", START, END)["flag"].to_list() == [None] * 4 + ["single_price", None]


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
        (lambda rows: rows.with_columns(TS + timedelta(seconds=7)), "not on the 1m grid .and 5 more rows"),
        (lambda rows: rows.with_columns(ts=TS.replace(START, None)), "a row without ts"),
        (lambda rows: rows.with_columns(ts=pl.lit("yesterday")), "has ts 'yesterday'"),
        (lambda rows: rows.with_columns(ts=1.5), "row 1 has ts 1.5"),
        (lambda rows: rows.with_columns(ts=TS.dt.epoch("ms") + 0.5), r"row 1 has ts 1735689600000.5"),
        (lambda rows: rows.with_columns(TS.dt.strftime("%m/%d/%Y %H:%M:%S")), "row 1 has ts '01/01/2025 00:00:00'"),
        (lambda rows: rows.with_columns(TS.dt.strftime("%d.%m.%Y %H:%M")), "row 1 has ts '01.01.2025 00:00'"),
        (lambda rows: rows.with_columns(ts=pl.lit("2025-02-30T00:00:00Z")), "row 1 has ts '2025-02-30T00:00:00Z'"),
        (lambda rows: rows.with_columns(TS.dt.date()), "has ts as Date"),
        (lambda rows: rows.with_columns(TS.dt.epoch("s") // 60), "row 1 has ts 28928160; not a plausible market time"),
        (lambda rows: rows.with_columns(ts=pl.lit(2**63 - 1)), f"row 1 has ts {2**63 - 1}"),
        (lambda rows: rows.with_columns(ts=pl.lit(2**63 - 1).cast(pl.Datetime("ms"))), f"row 1 has ts '{2**63 - 1} mi"),
        (lambda rows: rows.with_columns(TS.dt.epoch("s").cast(pl.Datetime("ms"))), "row 1 has ts '1970-01-21T02"),
        (
            lambda rows: rows.with_columns(
                ts=pl.when(TS.dt.minute() < 4).then(TS.dt.epoch("s")).otherwise(TS.dt.epoch("ms"))
            ),
            r"mixes units: row 1 has ts 1735689600 .seconds., row 6 has ts 1735689900000 .milliseconds.",
        ),
        (
            lambda rows: rows.with_columns(
                ts=pl.when(TS.dt.minute() == 2)
                .then(pl.lit("01/01/2025 00:02:00"))
                .otherwise(TS.dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
            ),
            "row 3 has ts '01/01/2025 00:02:00'",
        ),
        (lambda rows: rows.head(0), "has no rows"),
    ],
)
def test_what_no_market_makes_is_refused_by_file_row_and_value(
    rows: pl.DataFrame, tmp_path: Path, change: Change, text: str
) -> None:
    with pytest.raises(MarketError, match=f"AA-USDT_1m.parquet.*{text}") as refused:
        _write(change(rows), tmp_path / "AA-USDT_1m.parquet").candles(["AA-USDT"], "1m", START, END)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("content", [b"", b"PAR1 but not really", bytes(range(256))])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"AA-USDT_1m.{suffix}"
    path.write_bytes(content)
    with pytest.raises(MarketError, match=path.name) as refused:
        ArchiveMarket(tmp_path).candles(["AA-USDT"], "1m", START, END)
    assert "\n" not in str(refused.value)


def test_a_word_among_the_numbers_is_named(rows: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "AA-USDT_1m.csv"
    path.write_text(rows.write_csv().replace("13.0", "n/a", 1))
    with pytest.raises(MarketError, match=r"AA-USDT_1m.csv: .*n/a"):
        ArchiveMarket(tmp_path).candles(["AA-USDT"], "1m", START, END)


def test_folders_without_candles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MarketError, match="does not exist; set BLOFIN_ARCHIVE"):
        open_market("archive", archive=tmp_path / "none", api_url="", seed=0)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(MarketError, match="holds no candles"):
        open_market("archive", archive=tmp_path, api_url="", seed=0)


def test_unknown_symbols_and_early_dates_name_what_there_is(rows: pl.DataFrame, tmp_path: Path) -> None:
    market = _write(rows, tmp_path / "AA-USDT_1m.parquet")
    with pytest.raises(MarketError, match=r"unknown symbol BB-USDT in archive .*; it has: AA-USDT"):
        market.candles(["BB-USDT"], "1m", START, END)
    with pytest.raises(MarketError, match="the first opens at 2025-01-01T00:00Z"):
        market.candles(["AA-USDT"], "1m", START - timedelta(days=2), START - timedelta(days=1))
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
    rates.with_columns(rate=pl.lit(None, pl.Float64)).write_csv(tmp_path / "AA-USDT_funding.csv")
    with pytest.raises(MarketError, match=r"AA-USDT_funding.csv.*rate null; give a fraction"):
        ArchiveMarket(tmp_path).funding(["AA-USDT"], START, END)


HOURS = [START + timedelta(hours=8 * payment) for payment in range(3)]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda rates: rates.with_columns(rate=5.0), "2025-01-01T00:00Z: rate 5.0; give a fraction .*and 2 more rows"),
        (lambda rates: rates.with_columns(rate=-0.11), "rate -0.11; give a fraction of notional, at most 0.1 either"),
        (
            lambda rates: pl.concat([rates, rates[2:].with_columns(TS + timedelta(milliseconds=3))]),
            "T16:00Z: 2 payments",
        ),
        (lambda rates: rates.with_columns(TS.dt.strftime("%m/%d/%Y %H:%M:%S")), "row 1 has ts '01/01/2025 00:00:00'"),
        (lambda rates: rates.with_columns(TS.dt.epoch("s") // 60), "row 1 has ts .?28928160"),
    ],
)
def test_funding_that_no_exchange_charges_is_refused_at_the_door(
    rows: pl.DataFrame, tmp_path: Path, change: Change, text: str, suffix: str
) -> None:
    _write(rows, tmp_path / "AA-USDT_1m.parquet")
    rates = change(pl.DataFrame({"ts": HOURS, "rate": [1e-4, -2e-4, 3e-4]}))
    market = _write(rates, tmp_path / f"AA-USDT_funding.{suffix}")
    with pytest.raises(MarketError, match=rf"AA-USDT_funding.{suffix}.*{text}"):
        market.funding(["AA-USDT"], START, END)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_payments_are_of_their_minute_whatever_milliseconds_the_file_has(
    rows: pl.DataFrame, tmp_path: Path, unit: str
) -> None:
    _write(rows, tmp_path / "AA-USDT_1m.parquet")
    late = timedelta(0) if unit == "s" else timedelta(milliseconds=3)
    rates = pl.DataFrame({"ts": [moment + late for moment in HOURS], "rate": [1e-4, -2e-4, 3e-4]})
    market = _write(rates.with_columns(TS.dt.epoch(unit)), tmp_path / "AA-USDT_funding.csv")  # type: ignore[arg-type]
    assert market.funding(["AA-USDT"], START, HOURS[2])["ts"].to_list() == HOURS
    assert market.funding(["AA-USDT"], HOURS[1], HOURS[1])["rate"].to_list() == [-2e-4]
    assert market.warnings == ()


def test_rates_that_look_like_percent_are_asked_about(
    rows: pl.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _write(rows, tmp_path / "AA-USDT_1m.parquet")
    market = _write(pl.DataFrame({"ts": HOURS, "rate": [0.01, -0.005, 0.01]}), tmp_path / "AA-USDT_funding.csv")
    for _ in range(2):
        assert market.funding(["AA-USDT"], START, END).height == 3
    assert [record.message for record in caplog.records] == list(market.warnings)
    assert len(market.warnings) == 1
    assert "AA-USDT_funding.csv: half of the rates are beyond 0.01: are they in percent?" in market.warnings[0]


def test_files_that_are_passed_over_are_named_with_the_reason(
    rows: pl.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("kPEPE-USDT_1m", "BTCUSDT_1m", "BTC-USDT_1m", "CC-USDT_metrics", "BTC-USDT_7m", "CC-USDT_funding"):
        rows.write_csv(tmp_path / f"{name}.csv")
    rows.write_parquet(tmp_path / "BTC-USDT_1m.parquet")
    for name in ("BTC-USDT_1m.csv.gz", "README.md", ".hidden.csv", "DD-USDT_1m.CSV"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "EE-USDT_1m.parquet").mkdir()
    os.mkfifo(tmp_path / "FF-USDT_1m.csv")
    market = ArchiveMarket(tmp_path)
    assert market.symbols() == ("BTC-USDT",)
    assert market.candles(["BTC-USDT"], "1m", START, END).height == 6
    assert [record.message for record in caplog.records] == list(market.warnings)
    (told,) = market.warnings
    for name, reason in {
        "kPEPE-USDT_1m.csv": "kPEPE-USDT is not a symbol such as BTC-USDT",
        "BTCUSDT_1m.csv": "BTCUSDT is not a symbol such as BTC-USDT",
        "BTC-USDT_1m.csv": "BTC-USDT_1m.parquet is read instead",
        "CC-USDT_metrics.csv": "no candles of CC-USDT beside it",
        "BTC-USDT_7m.csv": "not named <SYMBOL>_<timeframe>, <SYMBOL>_funding, <SYMBOL>_mark or <SYMBOL>_metrics",
        "CC-USDT_funding.csv": "no candles of CC-USDT beside it",
        "BTC-USDT_1m.csv.gz": "only .csv and .parquet are read, not compressed",
        "DD-USDT_1m.CSV": "only .csv and .parquet are read, not compressed",
        "EE-USDT_1m.parquet": "a folder",
        "FF-USDT_1m.csv": "not a regular file",
    }.items():
        assert f"{name} ({reason})" in told
    assert "README" not in told
    assert "hidden" not in told


@pytest.mark.parametrize("name", ["BB-USDT_1m.tsv", "BB-USDT_1m.txt", "BB-USDT_funding.xlsx", "bb-usdt_MARK.dat"])
def test_a_name_of_data_with_another_ending_is_named(rows: pl.DataFrame, tmp_path: Path, name: str) -> None:
    market = _write(rows, tmp_path / "AA-USDT_1m.csv")
    assert market.warnings == ()
    (tmp_path / name).write_text("x", encoding="utf-8")
    assert f"{name} (only .csv and .parquet are read" in ArchiveMarket(tmp_path).warnings[0]


def test_a_folder_of_nothing_readable_says_what_was_passed_over(rows: pl.DataFrame, tmp_path: Path) -> None:
    rows.write_csv(tmp_path / "BTCUSDT_1m.csv")
    with pytest.raises(MarketError, match=r"holds no candles.*skipped: BTCUSDT_1m.csv .BTCUSDT is not a symbol"):
        ArchiveMarket(tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["a[1]", "a*", "a?", "{a,b}"])
def test_a_folder_is_the_one_named_whatever_characters_it_has(
    rows: pl.DataFrame, tmp_path: Path, suffix: str, name: str
) -> None:
    for folder, price in ((name, 10.0), ("a1", 20.0), ("ab", 30.0), ("a", 40.0), ("b", 50.0)):
        (tmp_path / folder).mkdir()
        own = rows.with_columns(open=price, high=price, low=price, close=price, volume=1.0, rate=price / 1000)
        _write(own, tmp_path / folder / f"AA-USDT_1m.{suffix}")
        for further in ("funding", "mark"):
            _write(own, tmp_path / folder / f"AA-USDT_{further}.{suffix}")
    market = ArchiveMarket(tmp_path / name)
    assert set(market.candles(["AA-USDT"], "1m", START, END)["close"]) == {10.0}
    assert set(market.funding(["AA-USDT"], START, END)["rate"]) == {0.01}
    assert set(market.mark_candles_1m(["AA-USDT"], START, END)["close"]) == {10.0}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("minutes", [2, 5, 60, 1440])
@pytest.mark.parametrize("what", ["1m", "mark"])
def test_rows_of_longer_bars_are_refused(
    rows: pl.DataFrame, tmp_path: Path, suffix: str, minutes: int, what: str
) -> None:
    _write(rows, tmp_path / f"AA-USDT_1m.{suffix}")
    times = [START + timedelta(minutes=minutes * bar) for bar in range(20)]
    longer = pl.DataFrame({"ts": times, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0})
    market = _write(longer, tmp_path / f"AA-USDT_{what}.{suffix}")
    text = f"AA-USDT_{what}.{suffix}: 19 of the 19 rows of 2025-01 are {minutes} minutes after the row before"
    reading = (
        partial(market.candles, ["AA-USDT"], "1m") if what == "1m" else partial(market.mark_candles_1m, ["AA-USDT"])
    )
    with pytest.raises(MarketError, match=text):
        reading(START, END)


def test_a_month_of_longer_bars_among_minutes_is_found(rows: pl.DataFrame, tmp_path: Path) -> None:
    february = [datetime(2025, 2, 1, tzinfo=UTC) + timedelta(minutes=5 * bar) for bar in range(20)]
    both = pl.concat([rows, rows[:1].drop("ts").join(pl.DataFrame({"ts": february}), how="cross").select(rows.columns)])
    with pytest.raises(MarketError, match="19 of the 20 rows of 2025-02 are 5 minutes after"):
        _write(both, tmp_path / "AA-USDT_1m.csv").candles(["AA-USDT"], "1m", START, END)


def test_days_of_longer_bars_in_a_month_of_minutes_are_refused(rows: pl.DataFrame, tmp_path: Path) -> None:
    minutes = [*range(0, 1440, 5), *range(1440, 3 * 1440)]
    many = pl.concat([rows[:1]] * len(minutes)).with_columns(
        ts=pl.Series([START + timedelta(minutes=minute) for minute in minutes])
    )
    market = _write(many, tmp_path / "AA-USDT_1m.parquet")
    with pytest.raises(MarketError, match="287 of the 287 rows of 2025-01-01 are 5 minutes after the row before"):
        market.candles(["AA-USDT"], "1m", START, END)


@pytest.mark.parametrize("share", [0.03, 0.2, 0.5, 0.98])
def test_sparse_minutes_are_taken(tmp_path: Path, share: float) -> None:
    chance = random.Random(7)  # noqa: S311 - which minutes trade
    times = [START + timedelta(minutes=minute) for minute in range(20_000) if chance.random() < share]
    sparse = pl.DataFrame({"ts": times, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0})
    market = _write(sparse, tmp_path / "AA-USDT_1m.parquet")
    assert market.candles(["AA-USDT"], "1m", START, START + timedelta(days=14)).height == len(times)


def test_a_file_that_has_grown_is_looked_at_again(rows: pl.DataFrame, tmp_path: Path) -> None:
    market = _write(rows[:3], tmp_path / "AA-USDT_1m.csv")
    assert market.coverage("AA-USDT").through == START + timedelta(minutes=3)
    _write(rows.with_columns(TS.dt.epoch("s")), tmp_path / "AA-USDT_1m.csv")
    assert market.coverage("AA-USDT").through == START + timedelta(minutes=6)
    assert market.candles(["AA-USDT"], "1m", START, END)["ts"].to_list() == rows["ts"].to_list()


def test_real_candles_pass_every_check(real_market: Path) -> None:
    market = ArchiveMarket(real_market)
    symbols = list(market.symbols())
    start = max(market.first_ts(symbol) for symbol in symbols)
    end = min(market.coverage(symbol).through for symbol in symbols)
    candles = market.candles(symbols, "1m", start, end)
    assert checks.unsound(candles, "1m") == {}
    assert checks.jumps(candles).is_empty()
    assert checks.incomplete_days(candles, "1m", start, end, symbols).is_empty()
    assert not market.funding(symbols, start, end).is_empty()
    assert market.instruments(symbols, end)["base_currency"].to_list() == [symbol.split("-")[0] for symbol in symbols]


def test_further_volumes_are_read_where_the_file_has_them(tmp_path: Path) -> None:
    start = datetime(2020, 4, 1, tzinfo=UTC)
    made = SampleMarket(7).candles(["BTC-USDT"], "1m", start, start + timedelta(hours=1))
    made.write_parquet(tmp_path / "BTC-USDT_1m.parquet")
    made.drop("contracts").write_csv(tmp_path / "ETH-USDT_1m.csv")
    read = ArchiveMarket(tmp_path).candles(["BTC-USDT", "ETH-USDT"], "1m", start, start + timedelta(hours=1))
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


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_positioning_data_are_read_where_a_symbol_has_them(rows: pl.DataFrame, tmp_path: Path, suffix: str) -> None:
    _write(rows, tmp_path / "AA-USDT_1m.csv")
    _write(rows, tmp_path / "BB-USDT_1m.csv")
    held = rows.select("ts", open_interest=pl.col("volume"), taker_ratio=pl.when(pl.col("ts") != START).then(1.5))
    market = _write(held, tmp_path / f"BB-USDT_metrics.{suffix}")
    assert list(market.positioned()) == ["BB-USDT"]
    until = START + timedelta(minutes=3)
    found = market.positioning(["BB-USDT", "AA-USDT"], START, until)
    assert found.schema == POSITIONING_SCHEMA
    assert set(found["symbol"]) == {"BB-USDT"}
    # a value stamped at the end is known then
    assert found["ts"].to_list() == [START + timedelta(minutes=n) for n in range(4)]
    assert found["open_interest"].equals(rows["volume"].head(4).cast(pl.Float64))
    assert found["taker_ratio"].to_list() == [None, 1.5, 1.5, 1.5]
    assert found["accounts_ratio"].null_count() == 4
    assert market.positioning(["AA-USDT"], START, END).is_empty()
    with pytest.raises(MarketError, match="unknown symbol CC-USDT"):
        market.positioning(["CC-USDT"], START, END)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.with_columns(open_interest=pl.lit(-1.0)), "open_interest -1.0; give a number from 0 on"),
        (lambda frame: frame.with_columns(open_interest=pl.lit("inf")), "open_interest inf; give a number from 0 on"),
        (lambda frame: frame.reverse(), "out of order"),
        (lambda frame: pl.concat([frame, frame.tail(1)]), "2 rows of the same time"),
        (lambda frame: frame.drop("ts"), "lacks the column ts"),
    ],
)
def test_positioning_data_that_no_market_has_are_refused(
    rows: pl.DataFrame, tmp_path: Path, change: Change, said: str
) -> None:
    _write(rows, tmp_path / "AA-USDT_1m.csv")
    market = _write(change(rows.select("ts", open_interest=pl.col("volume"))), tmp_path / "AA-USDT_metrics.csv")
    with pytest.raises(MarketError, match=said) as refused:
        market.positioning(["AA-USDT"], START, END)
    assert "AA-USDT_metrics.csv" in str(refused.value)


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
    assert market.candles(["AA-USDT"], "1m", START, END).height == 6
    with pytest.raises(MarketError, match=said) as refused:
        market.mark_candles_1m(["AA-USDT"], START, END)
    assert "AA-USDT_mark.csv" in str(refused.value)


def _bars(count: int, step: timedelta, start: datetime = START) -> pl.DataFrame:
    close = [100.0 + 7.0 * (k % 11) - k % 5 for k in range(count)]
    return pl.DataFrame(
        {
            "ts": [start + k * step for k in range(count)],
            "open": [price - 0.5 for price in close],
            "high": [price + 1.0 + k % 3 for k, price in enumerate(close)],
            "low": [price - 2.0 for price in close],
            "close": close,
            "volume": [1.0 + k % 7 for k in range(count)],
        }
    )


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize("kind", ["60m", "1h"])
def test_hours_are_read_from_a_file_of_hours_and_days_are_made_of_them(tmp_path: Path, kind: str) -> None:
    hours = _bars(60, HOUR)
    market = _write(hours, tmp_path / f"AA-USDT_{kind}.parquet")
    assert (market.symbols(), market.shortest("AA-USDT"), market.warnings) == (("AA-USDT",), "60m", ())
    read = market.candles(["AA-USDT"], "60m", START, START + 60 * HOUR)
    assert read.schema == CANDLE_SCHEMA
    assert_frame_equal(read.select(hours.columns), hours.cast({"ts": CANDLE_SCHEMA["ts"]}))
    assert set(read["minutes"]) == {60}
    inside = market.candles(["AA-USDT"], "60m", START + timedelta(minutes=1), START + 4 * HOUR)
    assert inside["ts"].to_list() == [START + k * HOUR for k in (1, 2, 3)]
    days = market.candles(["AA-USDT"], "1d", START, START + 3 * DAY)
    assert days.select("ts", "open", "high", "low", "close", "volume", "minutes", "flag").rows() == [
        (
            START + day * DAY, part["open"][0], part["high"].max(), part["low"].min(), part["close"][-1],
            part["volume"].sum(), part.height * 60, None if part.height == 24 else "incomplete",
        )
        for day, part in enumerate([hours[:24], hours[24:48], hours[48:]])
    ]  # fmt: skip
    assert market.candles(["AA-USDT"], "1d", START + HOUR, START + 2 * DAY)["ts"].to_list() == [START + DAY]
    with pytest.raises(MarketError, match=r"has no 1m bars of AA-USDT or shorter; it has: 60m"):
        market.candles(["AA-USDT"], "1m", START, END)


def test_a_file_of_the_timeframe_goes_before_what_shorter_bars_make(tmp_path: Path) -> None:
    _bars(3000, timedelta(minutes=1)).write_parquet(tmp_path / "AA-USDT_1m.parquet")
    hours = _bars(48, HOUR)
    hours.write_csv(tmp_path / "AA-USDT_60m.csv")
    _bars(48, HOUR).with_columns(volume=99.0).write_csv(tmp_path / "AA-USDT_1h.csv")
    market = ArchiveMarket(tmp_path)
    assert "AA-USDT_1h.csv (AA-USDT_60m.csv is read instead)" in market.warnings[0]
    assert market.candles(["AA-USDT"], "60m", START, START + 2 * DAY)["close"].to_list() == hours["close"].to_list()
    assert market.candles(["AA-USDT"], "5m", START, START + HOUR).height == 12
    with pytest.raises(MarketError, match=r"rows of 2025-01 are 60 minutes after .*Z: not 5-minute bars"):
        _write(hours, tmp_path / "AA-USDT_5m.parquet").candles(["AA-USDT"], "5m", START, END)


def test_a_symbol_that_ends_before_the_others_is_listed_as_delisted_at_its_last_bar(tmp_path: Path) -> None:
    for symbol, count, start in (("AA", 24 * 20, START), ("BB", 24 * 10, START + 2 * DAY), ("CC", 24 * 19 + 1, START)):
        _bars(count, HOUR, start).write_parquet(tmp_path / f"{symbol}-USDT_1h.parquet")
    (tmp_path / "DD-USDT_1h.csv").write_text("ts,open\n1,2\n")
    listed = ArchiveMarket(tmp_path).listings()
    assert listed.schema == LISTING_SCHEMA
    assert listed.rows() == [
        ("AA-USDT", START, None, "live"),
        ("BB-USDT", START + 2 * DAY, START + 12 * DAY, "delisted"),
        ("CC-USDT", START, None, "live"),
        ("DD-USDT", None, None, "live"),
    ]


def test_what_an_archive_lacks_is_told_once_for_all_symbols(tmp_path: Path) -> None:
    for symbol in ("AA", "BB"):
        _bars(24 * 3, HOUR, START).write_parquet(tmp_path / f"{symbol}-USDT_1h.parquet")
    market = ArchiveMarket(tmp_path)
    market.instruments(["AA-USDT", "BB-USDT"], START + 4 * DAY)
    lanes = "no lanes on 1m, 5m, 15m: the shortest bars are 60m of AA-USDT, BB-USDT"
    assert market.warnings == (lanes,)
    market.instruments(["AA-USDT", "BB-USDT"], START + 9 * DAY)
    end = START + 3 * DAY
    told = f"the files end at {end:%Y-%m-%d %H:%M} UTC, 6 days before this run; for a run as of their end: "
    assert market.warnings == (lanes, f"{told}blofin run --as-of {end:%Y-%m-%dT%H:%M:%SZ}")
