"""The base of a symbol: one for all of its history, and asked for once over all symbols."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from support.warehouses import new_warehouse

from blofin_resources.errors import MarketError
from blofin_resources.market.archive import ArchiveMarket
from blofin_resources.market.ingestion import store_candles, update_gap_ledger
from blofin_resources.warehouse import Warehouse
from features.bars import MINUTES, TIMEFRAMES, Timeframe, bar_length

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Warehouse]:
    with new_warehouse(tmp_path / "warehouse") as opened:
        yield opened


def write(folder: Path, symbol: str, base: Timeframe, first: datetime = START, days: int = 2) -> Path:
    ts = pl.datetime_range(first, first + days * DAY, bar_length(base), time_unit="us", closed="left", eager=True)
    path = folder / f"{symbol}_{base}.parquet"
    pl.DataFrame({"ts": ts, "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 5.0}).write_parquet(path)
    return path


def bring(store: Warehouse, folder: Path, *symbols: str, until: datetime = START + 2 * DAY) -> None:
    store_candles(store, ArchiveMarket(folder), symbols, START, until, as_of=until, run_id="test")


def stored(store: Warehouse, base: Timeframe) -> dict[str, int]:
    rows = store.read(f"SELECT symbol, count(*) AS n FROM market.candles_{base} GROUP BY 1 ORDER BY 1")
    return dict(rows.iter_rows())


def test_a_base_that_changes_is_refused_with_both_and_the_way_out_and_the_others_go_on(
    store: Warehouse, tmp_path: Path
) -> None:
    hourly = write(tmp_path, "AA-USDT", "60m")
    write(tmp_path, "BB-USDT", "60m")
    bring(store, tmp_path, "AA-USDT", "BB-USDT", until=START + DAY)
    shorter = write(tmp_path, "AA-USDT", "5m")
    said = r"^AA-USDT: the shortest bars of archive are of 5m, and those stored are of 60m.*take its bars of 5m out of"
    with pytest.raises(MarketError, match=said):
        bring(store, tmp_path, "AA-USDT", "BB-USDT")
    assert (stored(store, "5m"), stored(store, "60m")) == ({}, {"AA-USDT": 24, "BB-USDT": 48})
    shorter.unlink()
    hourly.rename(tmp_path / "kept")
    longer = write(tmp_path, "AA-USDT", "4h")
    with pytest.raises(MarketError, match=r"of 4h.*of 60m.*put its bars of 60m back.*\(BLOFIN_WAREHOUSE\)$"):
        bring(store, tmp_path, "AA-USDT", "BB-USDT")
    longer.unlink()
    (tmp_path / "kept").rename(hourly)
    bring(store, tmp_path, "AA-USDT", "BB-USDT")
    assert stored(store, "60m") == {"AA-USDT": 48, "BB-USDT": 48}


def test_one_symbol_that_has_begun_is_enough_whatever_their_bases(store: Warehouse, tmp_path: Path) -> None:
    write(tmp_path, "AA-USDT", "60m")
    write(tmp_path, "DD-USDT", "1d", START + 5 * DAY)
    with pytest.raises(MarketError, match="no candles up to 2024-01-03T00:00Z for DD-USDT"):
        bring(store, tmp_path, "DD-USDT")
    bring(store, tmp_path, "AA-USDT", "DD-USDT")
    assert (stored(store, "60m"), stored(store, "1d")) == ({"AA-USDT": 48}, {})


def test_the_view_of_bases_has_every_timeframe_with_its_length(store: Warehouse) -> None:
    rows = [
        {"dataset": f"candles_{name}", "symbol": name, "day": START.date(), "through": START + DAY, "rows": 1}
        for name in TIMEFRAMES
    ]
    with store.transaction("test") as tx:
        tx.append("market.coverage", pl.DataFrame(rows))
    found = store.read("SELECT timeframe, minutes FROM market.bases WHERE symbol = timeframe")
    assert dict(found.iter_rows()) == MINUTES


def test_before_its_first_bar_has_closed_a_symbol_lacks_none(store: Warehouse, tmp_path: Path) -> None:
    write(tmp_path, "AA-USDT", "60m")
    write(tmp_path, "DD-USDT", "1d")
    until = START + timedelta(hours=5)
    bring(store, tmp_path, "AA-USDT", "DD-USDT", until=until)
    assert stored(store, "1d") == {}
    found = update_gap_ledger(
        store, ["AA-USDT", "DD-USDT"], START, until, as_of=until, run_id="test", source=ArchiveMarket(tmp_path)
    )
    assert found.open.is_empty()
