"""An archive of bars longer than minutes: they are the base, longer bars are made of them, shorter ones never."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from support.platform import Make, Platform, content, differing

from backtester import aggregate
from blofin_assets.shared.cadences import MARKET_DATA
from blofin_assets.shared.coverage import require_market_data
from blofin_resources.market.bases import stored_by_base
from blofin_resources.market.sample import SampleMarket
from features.bars import CANDLE_SCHEMA, MINUTES, TIMEFRAMES, TS, Timeframe

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 2
END = START + timedelta(days=DAYS)
HOUR = timedelta(hours=1)
SYMBOLS = ("BTC-USDT", "ETH-USDT")


@pytest.fixture(scope="module")
def minutes() -> pl.DataFrame:
    """Minutes without a hole or a flag, so that every longer bar is whole."""
    return SampleMarket(7).candles(SYMBOLS, "1m", START, END).with_columns(flag=pl.lit(None, pl.String))


@pytest.fixture
def archive(minutes: pl.DataFrame, tmp_path: Path) -> "Archives":
    return Archives(minutes, tmp_path)


class Archives:
    """Folders of the same market in files of any base."""

    def __init__(self, minutes: pl.DataFrame, root: Path) -> None:
        self.minutes, self.root = minutes, root

    def folder(self, *bases: Timeframe, without: datetime | None = None) -> Path:
        """Write each symbol's bars of one base, in their order."""
        folder = self.root / "_".join(bases)
        folder.mkdir()
        for symbol, base in zip(SYMBOLS, bases, strict=True):
            bars = aggregate(self.minutes.filter(pl.col("symbol") == symbol), base, END)
            bars.filter(pl.col("ts").ne_missing(pl.lit(without, TS))).drop("symbol").write_parquet(
                folder / f"{symbol}_{base}.parquet"
            )
        return folder


def stored(platform: Platform, tables: tuple[str, ...]) -> dict[str, pl.DataFrame]:
    return {table: content(platform.warehouse, table) for table in tables}


def rounded(candles: pl.DataFrame) -> pl.DataFrame:
    """Return candles with volumes of ten digits: a sum of sums differs in the last bits from one of all minutes."""
    return candles.with_columns(pl.col("volume", "quote_volume", "contracts").round_sig_figs(10))


@pytest.mark.parametrize(
    "base",
    [
        pytest.param("60m", marks=pytest.mark.slow),
        *(pytest.param(base, marks=pytest.mark.long) for base in ("5m", "15m", "4h", "1d")),
    ],
)
def test_longer_bars_are_those_of_minutes_and_shorter_ones_are_not_made(
    base: Timeframe, archive: Archives, make_platform: Make
) -> None:
    longer = TIMEFRAMES[TIMEFRAMES.index(base) :]
    tables = tuple(f"market.candles_{timeframe}" for timeframe in longer)
    whole, hourly, fine = (
        make_platform(name, market="archive", archive=folder, start=START.date().isoformat())
        for name, folder in (("whole", archive.folder(base, base)), ("steps", archive.root / f"{base}_{base}"),
                             ("fine", archive.folder("1m", "1m")))
    )  # fmt: skip
    whole.run(END, (MARKET_DATA,))
    for hour in (5, 7, 24, 26, 24 * DAYS):  # inside a bar, too
        hourly.run(START + hour * HOUR, (MARKET_DATA,))
    fine.run(END, (MARKET_DATA,))
    for table, made in stored(fine, tables).items():
        assert made.height == 2 * DAYS * 1440 // MINUTES[table.rpartition("_")[2]]  # type: ignore[index]
        assert differing(rounded(content(whole.warehouse, table)), rounded(made)) == [], table
    further = (*tables, "market.gaps", "market.coverage", "features.features_60m", "features.features_1m")
    expected = stored(whole, further)
    for table, found in stored(hourly, further).items():
        assert differing(found, expected[table]) == [], table
    for timeframe in TIMEFRAMES[: TIMEFRAMES.index(base)]:
        assert content(whole.warehouse, f"market.candles_{timeframe}").is_empty()
    assert content(whole.warehouse, "features.features_1m").is_empty()
    bases = whole.warehouse.read("SELECT symbol, timeframe, minutes FROM market.bases").rows()
    assert bases == [(symbol, base, MINUTES[base]) for symbol in SYMBOLS]
    assert whole.plan(END).steps[0].job != MARKET_DATA, "nothing is due"
    require_market_data(whole.warehouse, SYMBOLS, START, END)


@pytest.mark.slow
def test_each_symbol_has_its_own_base_and_a_bar_that_is_missing_is_a_gap_of_it(
    archive: Archives, make_platform: Make
) -> None:
    lost = START + timedelta(days=1, hours=7)
    folder = archive.folder("1m", "60m", without=lost)
    platform = make_platform(market="archive", archive=folder, start=START.date().isoformat())
    platform.run(END, (MARKET_DATA,))
    store = platform.warehouse
    assert stored_by_base(store, SYMBOLS) == {"1m": ["BTC-USDT"], "60m": ["ETH-USDT"]}
    gaps = store.read("SELECT symbol, from_ts, to_ts, bars FROM market.gaps ORDER BY symbol").rows()
    assert [(symbol, to - since, bars) for symbol, since, to, bars in gaps] == [
        ("BTC-USDT", timedelta(minutes=1), 1), ("ETH-USDT", HOUR, 1),
    ]  # fmt: skip
    complete = store.read("SELECT symbol, bars, missing FROM market.completeness WHERE day = ?", [date(2026, 3, 2)])
    assert complete.sort("symbol").rows() == [("BTC-USDT", 1439, 1), ("ETH-USDT", 23, 1)]
    fours = store.candles(["ETH-USDT"], "4h", START, END).filter(pl.col("flag").is_not_null())
    assert fours.select("ts", "minutes", "flag").rows() == [(lost - 3 * HOUR, 180, "incomplete")]
    assert store.candles(["ETH-USDT"], "15m", START, END).schema == CANDLE_SCHEMA
    assert store.candles(["ETH-USDT"], "15m", START, END).is_empty()
