"""Files as freqtrade and Binance write them become an archive; what is wrong is one line, and nothing half is left."""

import gzip
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from blofin_resources.errors import MarketError
from blofin_resources.market.archive import ArchiveMarket
from blofin_resources.market.importing import Import, PlainFormat, import_folder, survey
from blofin_resources.market.importing.names import NameRefusedError, symbol_of
from features.bars import TS

T = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def bars(count: int = 48, step: timedelta = HOUR, start: datetime = T) -> pl.DataFrame:
    """Return bars of a price that rises by one from bar to bar."""
    close = [100.0 + k for k in range(count)]
    ts = [start + k * step for k in range(count)]
    return pl.DataFrame(
        {"ts": ts, "open": close, "high": [c + 1.0 for c in close], "low": [c - 1.0 for c in close],
         "close": close, "volume": [5.0 + k for k in range(count)]}
    ).with_columns(pl.col("ts").cast(TS))  # fmt: skip


def feather(frame: pl.DataFrame, path: Path) -> None:
    frame.rename({"ts": "date"}).with_columns(pl.col("date").dt.cast_time_unit("ms")).write_ipc(path, compression="lz4")


def rows_of(frame: pl.DataFrame) -> list[list[Any]]:
    stamps = frame["ts"].dt.epoch("ms").to_list()
    return [[stamp, *row[1:]] for stamp, row in zip(stamps, frame.iter_rows(), strict=True)]


def zipped(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}.csv", "\n".join(lines) + "\n")


KLINES = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


METRICS = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)


def klines(frame: pl.DataFrame, unit: str = "ms", *, header: bool = False) -> list[str]:
    scale = {"ms": 1, "us": 1000}[unit]
    lines = [
        f"{stamp * scale},{o},{h},{low},{c},{v},{(stamp + 3_599_999) * scale},{v * c},7,1.0,2.0,0"
        for stamp, o, h, low, c, v in rows_of(frame)
    ]
    return [KLINES, *lines] if header else lines


def imported(folder: Path, archive: Path, plain: PlainFormat | None = None) -> Import:
    return import_folder(survey(folder, plain), archive, plain)


def stored(archive: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(archive / f"{name}.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "theirs"
    made.mkdir()
    return made


def test_freqtrade_feather_and_json_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    feather(bars(), folder / "BTC_USDT_USDT-1h-futures.feather")
    (folder / "ETH_USDT_USDT-1h-futures.json").write_text(json.dumps(rows_of(bars())))
    (folder / "SOL_USDT_USDT-1h-futures.json.gz").write_bytes(gzip.compress(json.dumps(rows_of(bars())).encode()))
    feather(bars(60, timedelta(minutes=1)), folder / "BTC_USDT_USDT-1m-mark.feather")
    rates = bars(6, 8 * HOUR).with_columns(open=pl.lit(1e-4), high=pl.lit(0.0), low=pl.lit(0.0), close=pl.lit(0.0))
    feather(rates, folder / "BTC_USDT_USDT-8h-funding_rate.feather")
    made = imported(folder, tmp_path / "ours")
    assert [each.target.stem for each in made.joined] == [
        "BTC-USDT_60m", "BTC-USDT_funding", "BTC-USDT_mark", "ETH-USDT_60m", "SOL-USDT_60m",
    ]  # fmt: skip
    for name in ("BTC-USDT", "ETH-USDT", "SOL-USDT"):
        assert_frame_equal(stored(tmp_path / "ours", f"{name}_60m"), bars())
    assert stored(tmp_path / "ours", "BTC-USDT_funding")["rate"].to_list() == [1e-4] * 6
    assert stored(tmp_path / "ours", "BTC-USDT_mark").columns == ["ts", "open", "high", "low", "close"]


def test_binance_months_and_days_with_header_or_none_in_either_unit_are_one_file(folder: Path, tmp_path: Path) -> None:
    january, first = bars(48), bars(24)
    zipped(folder / "BTCUSDT-1h-2024-01.zip", klines(january))
    zipped(folder / "daily" / "BTCUSDT-1h-2024-01-01.zip", klines(first, "us", header=True))
    zipped(folder / "BTCUSDT-1h-2025-01.zip", klines(bars(5, start=T + timedelta(days=2)), "us"))
    zipped(
        folder / "BTCUSDT-fundingRate-2024-01.zip",
        ["calc_time,funding_interval_hours,last_funding_rate", f"{int(T.timestamp() * 1000) + 3},8,0.00010000"],
    )
    zipped(
        folder / "BTCUSDT-metrics-2024-01-01.zip",
        [METRICS, "2024-01-01 00:05:00,BTCUSDT,80000.5,3.4e9,1.2,1.1,,0.9"],
    )
    zipped(folder / "markPriceKlines" / "BTCUSDT-1m-2024-01.zip", klines(bars(3, timedelta(minutes=1))))
    zipped(folder / "BTCUSDT-aggTrades-2024-01.zip", ["1,2,3"])
    made = imported(folder, tmp_path / "ours")
    assert [(each.target.stem, each.files, each.rows, each.missing) for each in made.joined] == [
        ("BTC-USDT_60m", 3, 53, 0), ("BTC-USDT_funding", 1, 1, None), ("BTC-USDT_mark", 1, 3, 0),
        ("BTC-USDT_metrics", 1, 1, None),
    ]  # fmt: skip
    kept = stored(tmp_path / "ours", "BTC-USDT_60m")
    assert_frame_equal(kept.head(48).drop("quote_volume"), january)
    assert kept["quote_volume"][0] == 5.0 * 100.0
    assert stored(tmp_path / "ours", "BTC-USDT_funding").row(0) == (T, 1e-4)
    assert stored(tmp_path / "ours", "BTC-USDT_metrics").row(0, named=True) == {
        "ts": T + timedelta(minutes=5), "open_interest": 80000.5, "open_interest_value": 3.4e9,
        "top_accounts_ratio": 1.2, "top_positions_ratio": 1.1, "accounts_ratio": None, "taker_ratio": 0.9,
    }  # fmt: skip
    assert [reason for _, reason in survey(folder).skipped] == ["aggTrades files are not read"]


def test_plain_files_are_told_by_options(folder: Path, tmp_path: Path) -> None:
    renamed = bars().rename({"ts": "opened", "close": "last"}).with_columns(pl.col("opened").dt.epoch("s"))
    renamed.write_csv(folder / "candles.csv")
    plain = PlainFormat({"ts": "opened", "close": "last"}, "kPEPE/USDT", "1h")
    imported(folder, tmp_path / "ours", plain)
    assert_frame_equal(stored(tmp_path / "ours", "1000PEPE-USDT_60m"), bars())
    with pytest.raises(MarketError, match=r"holds nothing to import .*not named like"):
        survey(folder)
    lacking = imported(folder, tmp_path / "ours", PlainFormat({}, "BTC-USDT", "1h"))
    assert "lacks ts, close; it has opened, open" in lacking.refused[0].reason
    (folder / "candles.csv").unlink()
    percent = pl.DataFrame({"ts": [T, T + 8 * HOUR], "rate": [0.01, 0.02]})
    percent.write_parquet(folder / "BTC-USDT_funding.parquet")
    assert "are they in percent? give --percent" in imported(folder, tmp_path / "ours").refused[0].reason
    imported(folder, tmp_path / "ours", PlainFormat(percent=True))
    assert stored(tmp_path / "ours", "BTC-USDT_funding")["rate"].to_list() == [1e-4, 2e-4]


def test_a_second_run_adds_only_what_is_new_and_an_archive_reads_it(folder: Path, tmp_path: Path) -> None:
    minute = timedelta(minutes=1)
    feather(bars(120, minute), folder / "BTC_USDT_USDT-1m-futures.feather")
    assert [each.new for each in imported(folder, tmp_path / "ours").joined] == [120]
    written = (tmp_path / "ours" / "BTC-USDT_1m.parquet").stat().st_mtime_ns
    assert [each.new for each in imported(folder, tmp_path / "ours").joined] == [0]
    assert (tmp_path / "ours" / "BTC-USDT_1m.parquet").stat().st_mtime_ns == written
    feather(bars(150, minute), folder / "BTC_USDT_USDT-1m-futures.feather")
    assert [each.new for each in imported(folder, tmp_path / "ours").joined] == [30]
    feather(bars(), folder / "BTC_USDT_USDT-1h-futures.feather")
    imported(folder, tmp_path / "ours")
    market = ArchiveMarket(tmp_path / "ours")
    assert market.warnings == ()
    assert_frame_equal(market.candles(["BTC-USDT"], "60m", T, T + 500 * HOUR).select(bars().columns), bars())
    candles = market.candles(["BTC-USDT"], "1m", T, T + 3 * HOUR)
    assert_frame_equal(candles.select(bars().columns), bars(150, minute))


Broken = Callable[[Path], object]


def _rewritten(column: str, row: int, value: float) -> Broken:
    def write(folder: Path) -> None:
        frame = bars().with_row_index("k")
        changed = pl.when(pl.col("k") == row).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
        feather(frame.with_columns(changed).drop("k"), folder / "BAD_USDT_USDT-1h-futures.feather")

    return write


def _mixed(folder: Path) -> None:
    lines = klines(bars(3)) + klines(bars(1, start=T + 3 * HOUR), "us")
    zipped(folder / "BADUSDT-1h-2024-01.zip", lines)


def _american(folder: Path) -> None:
    frame = bars().with_columns(pl.col("ts").dt.strftime("%m/%d/%Y %H:%M"))
    frame.write_csv(folder / "BAD-USDT_1h.csv")


def _twice(folder: Path) -> None:
    feather(bars(), folder / "BAD_USDT_USDT-1h-futures.feather")
    frame = bars().with_columns(close=pl.col("close") + 0.5)
    (folder / "more").mkdir()
    feather(frame, folder / "more" / "BAD_USDT_USDT-1h-futures.feather")


def _two_names(folder: Path) -> None:
    feather(bars(), folder / "BAD_USDT_USDT-1h-futures.feather")
    feather(bars(), folder / "BAD_USDT-1h.feather")


def _one_file_twice(folder: Path) -> None:
    lines = klines(bars(3))
    zipped(folder / "BADUSDT-1h-2024-01.zip", [*lines, lines[1].replace("101.0", "101.5")])


def _mixed_json(folder: Path) -> None:
    rows = rows_of(bars(4))
    rows[2][0] //= 1000
    (folder / "BAD_USDT_USDT-1h-futures.json").write_text(json.dumps(rows))


def _seconds_as_milliseconds(folder: Path) -> None:
    wrong = pl.from_epoch(pl.col("ts").dt.epoch("s"), "ms").dt.replace_time_zone("UTC")
    feather(bars().with_columns(ts=wrong), folder / "BAD_USDT_USDT-1h-futures.feather")


def _torn(folder: Path) -> None:
    path = folder / "BADUSDT-1h-2024-01.zip"
    zipped(path, klines(bars()))
    path.write_bytes(path.read_bytes()[:-300])


def _spoiled(folder: Path) -> None:
    path = folder / "BADUSDT-1h-2024-01.zip"
    zipped(path, klines(bars()))
    path.write_bytes(path.read_bytes().replace(path.read_bytes()[200:204], b"\0\1\2\3", 1))


def _percent(folder: Path) -> None:
    lines = [f"{int((T + k * 8 * HOUR).timestamp() * 1000)},8,{0.01 + k / 1000}" for k in range(3)]
    zipped(folder / "BADUSDT-fundingRate-2024-01.zip", lines)


def _both_programs(folder: Path) -> None:
    feather(bars(), folder / "BAD_USDT_USDT-1h-futures.feather")
    zipped(folder / "BADUSDT-1h-2024-01.zip", klines(bars()))


def _two_units_of_a_name(folder: Path) -> None:
    bars().write_csv(folder / "kPEPE-USDT_1h.csv")
    bars().write_csv(folder / "1000PEPE-USDT_1h.csv")


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (lambda folder: (folder / "BADUSDT-1h-2024-01.zip").write_bytes(b"PK no"), r"BADUSDT.*cannot be read as zip"),
        (lambda folder: (folder / "BAD_USDT-1h.feather").write_bytes(b"x"), r"BAD_USDT-1h.*cannot be read as feather"),
        (lambda folder: (folder / "BAD_USDT-1h.json").write_text('{"a": 1}'), r"BAD_USDT-1h.*cannot be read as json"),
        (lambda folder: zipped(folder / "BADUSDT-1h-2024-01.zip", ["1,2,3"]), r"has 3 columns, not 12"),
        (_mixed, r"mixes units: row 1 has ts '?1704067200000.*row 4 has"),
        (_mixed_json, r"mixes units: row 3 has ts 1704074400 \(seconds\), row \d has .*milliseconds.*write times as"),
        (_seconds_as_milliseconds, r"row 1 has ts '1970-01-20T.*not a plausible market time \(another unit\?\); write"),
        (_torn, r"BADUSDT-1h-2024-01.zip cannot be read as zip: .*; replace the file or remove it"),
        (_spoiled, r"BADUSDT-1h-2024-01.zip cannot be read as zip: .*; replace the file or remove it"),
        (_percent, r"row 2, 2024-01-01T08:00:00Z: a rate of 0.011, .*are they in percent\? give --percent"),
        (_both_programs, r"BADUSDT and BAD_USDT_USDT are both BAD-USDT \(.*\); remove one"),
        (_two_units_of_a_name, r"1000PEPE-USDT and kPEPE-USDT are both 1000PEPE-USDT \(.*\); remove one"),
        (_american, r"row 1 has ts '01/01/2024 00:00'.*ISO 8601"),
        (_rewritten("high", 7, 1.0), r"row 8, 2024-01-01T07:00:00Z: high or low inside the bar: .*high 1.0"),
        (_rewritten("close", 3, float("nan")), r"row 4, .*a price that is not positive.*NaN"),
        (_rewritten("volume", 2, -1.0), r"row 3, .*impossible volume"),
        (lambda folder: feather(bars(start=T + timedelta(minutes=7)), folder / "BAD_USDT-1h.feather"),
         r"row 1, 2024-01-01T00:07:00Z: not on the grid of 60m bars"),
        (lambda folder: feather(bars(step=4 * HOUR), folder / "BAD_USDT-1h.feather"),
         r"BAD_USDT-1h.feather: 47 of the 47 rows of 2024-01 are 240 minutes after .*not 60-minute bars"),
        (_twice, r"BAD_USDT_USDT.*and .*more.* disagree at 2024-01-01T00:00:00Z: close is 100.0 and 100.5 \(48 rows\)"),
        (_two_names, r"BAD_USDT and BAD_USDT_USDT are both BAD-USDT"),
        (_one_file_twice, r"row 4, 2024-01-01T01:00:00Z: same time as row 2, other values"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_stops_nothing_else(
    folder: Path, tmp_path: Path, broken: Broken, text: str
) -> None:
    feather(bars(), folder / "BTC_USDT_USDT-1h-futures.feather")
    broken(folder)
    made = imported(folder, tmp_path / "ours")
    assert [each.target.stem for each in made.joined] == ["BTC-USDT_60m"]
    assert len(made.refused) == 1
    assert re.search(text, made.refused[0].reason)
    assert "\n" not in made.refused[0].reason
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == ["BTC-USDT_60m.parquet"]


def test_a_file_that_contradicts_the_archive_changes_nothing(folder: Path, tmp_path: Path) -> None:
    feather(bars(), folder / "BTC_USDT_USDT-1h-futures.feather")
    imported(folder, tmp_path / "ours")
    before = (tmp_path / "ours" / "BTC-USDT_60m.parquet").read_bytes()
    feather(bars().with_columns(volume=pl.lit(1.0)), folder / "BTC_USDT_USDT-1h-futures.feather")
    made = imported(folder, tmp_path / "ours")
    assert "ours/BTC-USDT_60m.parquet and" in made.refused[0].reason
    assert (tmp_path / "ours" / "BTC-USDT_60m.parquet").read_bytes() == before


def test_columns_of_an_archive_are_kept_and_others_are_not_lost_in_silence(folder: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    bars().with_columns(quote_volume=pl.lit(7.0), contracts=pl.lit(3.0)).write_csv(folder / "BTC-USDT_1h.csv")
    imported(folder, ours)
    assert stored(ours, "BTC-USDT_60m").columns == [*bars().columns, "quote_volume", "contracts"]
    mine = stored(ours, "BTC-USDT_60m").with_columns(note=pl.lit("mine"))
    mine.write_parquet(ours / "BTC-USDT_60m.parquet")
    bars(60).write_csv(folder / "BTC-USDT_1h.csv")
    made = imported(folder, ours)
    assert "BTC-USDT_60m.parquet has columns that no archive has (note); move it away" in made.refused[0].reason
    assert_frame_equal(stored(ours, "BTC-USDT_60m"), mine)


def test_whoever_stops_before_the_end_leaves_the_archive_as_it_was(folder: Path, tmp_path: Path) -> None:
    feather(bars(), folder / "BTC_USDT_USDT-1h-futures.feather")
    seen = []

    def stopped(_: Import) -> bool:
        seen.extend((tmp_path / "ours").iterdir())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_folder(survey(folder), tmp_path / "ours", confirm=stopped)
    assert len(seen) == 1
    assert not (tmp_path / "ours").exists()


def test_a_step_of_a_price_is_named(folder: Path, tmp_path: Path) -> None:
    frame = bars().with_columns(
        pl.when(pl.col("ts") >= T + 20 * HOUR).then(pl.col(name) * 1000.0).otherwise(pl.col(name)).alias(name)
        for name in ("open", "high", "low", "close")
    )
    feather(frame, folder / "BTC_USDT_USDT-1h-futures.feather")
    steps = imported(folder, tmp_path / "ours").joined[0].steps
    assert len(steps) == 1
    assert re.fullmatch(r"BTC-USDT steps by 1,0\d\d\.?\d* : 1 at 2024-01-01T20:00Z", str(steps[0]))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("BTCUSD_PERP", "its base currency"), ("BTC_USD_BTC", "settled in BTC"), ("BTCUSDT_240329", "dated future"),
        ("USDT", "no known quote"), ("BTC_USDT_USDT:240329", "dated future"), ("B!C_USDT", "no symbol"),
    ],
)  # fmt: skip
def test_names_of_other_contracts_are_refused(name: str, reason: str) -> None:
    with pytest.raises(NameRefusedError, match=reason):
        symbol_of(name)
