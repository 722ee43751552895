"""Positioning data of an archive: stored once at their own times, late files made up for, revisions logged."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from support.platform import Make
from support.warehouses import new_warehouse

from blofin_assets.scheduling.plan import Step
from blofin_assets.scheduling.runner import execute
from blofin_assets.shared.cadences import MARKET_DATA
from blofin_assets.shared.candle_cache import feature_manager
from blofin_resources.market.archive import ArchiveMarket
from blofin_resources.market.ingestion import Ingested, store_candles, store_positioning
from blofin_resources.market.sample import SampleMarket
from blofin_resources.warehouse import Warehouse

pytestmark = pytest.mark.slow

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=3)
SYMBOLS = ["BTC-USDT", "ETH-USDT"]
STEP = timedelta(minutes=5)


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return SampleMarket(7).candles(SYMBOLS, "1m", START, END)


@pytest.fixture
def folder(candles: pl.DataFrame, tmp_path: Path) -> Path:
    made = tmp_path / "archive"
    made.mkdir()
    for symbol in SYMBOLS:
        candles.filter(pl.col("symbol") == symbol).write_parquet(made / f"{symbol}_1m.parquet")
    return made


def metrics(factor: float = 1.0) -> pl.DataFrame:
    times = [START + n * STEP for n in range(3 * 288)]
    held = [factor * (1000.0 + n) for n in range(len(times))]
    return pl.DataFrame(
        {"ts": times, "open_interest": held, "accounts_ratio": [1.0 + n % 7 for n in range(len(times))]}
    )


def ingest(store: Warehouse, folder: Path, until: datetime = END) -> Ingested:
    source = ArchiveMarket(folder)
    store_candles(store, source, SYMBOLS, START, until, as_of=until, run_id="test")
    return store_positioning(store, source, SYMBOLS, START, until, as_of=until, run_id="test")


def stored(store: Warehouse) -> pl.DataFrame:
    return store.read("SELECT * EXCLUDE (run_id) FROM market.positioning ORDER BY symbol, ts")


def test_it_is_the_same_in_one_run_and_in_parts(folder: Path, tmp_path: Path) -> None:
    metrics().write_parquet(folder / "BTC-USDT_metrics.parquet")
    with new_warehouse(tmp_path / "one") as one, new_warehouse(tmp_path / "parts") as parts:
        assert ingest(one, folder).rows == 3 * 288
        for hours in (5, 6, 24, 47, 72):
            ingest(parts, folder, START + timedelta(hours=hours))
        rows = stored(one)
        assert rows.equals(stored(parts))
        assert ingest(one, folder).rows == 0
        assert rows["symbol"].unique().to_list() == ["BTC-USDT"]
        assert rows["ts"].to_list() == metrics()["ts"].to_list()
        assert rows["open_interest"].to_list() == metrics()["open_interest"].to_list()
        assert rows["taker_ratio"].null_count() == rows.height
        assert rows["origin"].unique().to_list() == ["archive"]


def test_what_is_stamped_later_than_the_as_of_is_not_stored(folder: Path, tmp_path: Path) -> None:
    metrics().write_parquet(folder / "BTC-USDT_metrics.parquet")
    until = START + timedelta(hours=7)
    with new_warehouse(tmp_path / "store") as store:
        ingest(store, folder, until)
        assert stored(store)["ts"].max() == until


def test_a_file_that_comes_later_is_made_up_for(folder: Path, tmp_path: Path) -> None:
    with new_warehouse(tmp_path / "store") as store:
        assert ingest(store, folder, START + timedelta(days=2)) == Ingested(0, 0, None)
        source, midnight = ArchiveMarket(folder), START + timedelta(days=2)
        store_candles(store, source, SYMBOLS, midnight, END, as_of=END, run_id="test")
        for rows in (300, 301, 3 * 288):  # a file that ends before the candles is known to its end alone
            metrics()[:rows].write_parquet(folder / "ETH-USDT_metrics.parquet")
            store_positioning(store, source, SYMBOLS, midnight, END, as_of=END, run_id="test")
            assert stored(store)["ts"].to_list() == metrics()["ts"][:rows].to_list()


def test_features_read_what_was_known_at_each_close(folder: Path, tmp_path: Path) -> None:
    metrics().write_parquet(folder / "BTC-USDT_metrics.parquet")
    as_of = START + timedelta(days=2, minutes=3)
    with new_warehouse(tmp_path / "store") as store:
        ingest(store, folder)
        manager = feature_manager(store, as_of)
        known = manager.get_features("BTC-USDT", "1m", ["accounts_imbalance", "open_interest_change_10"], 30)
        none = manager.get_features("ETH-USDT", "1m", ["accounts_imbalance"], 30)
    # the bar that closes at a row's time knows it, the bar before does not
    rows = [(START + timedelta(minutes=5 * n), n) for n in range(3 * 288)]
    numbers = [max(n for ts, n in rows if ts <= bar + timedelta(minutes=1)) for bar in known["ts"]]
    assert known["ts"].max() == as_of - timedelta(minutes=1)
    assert known["accounts_imbalance"].to_list() == pytest.approx([(n % 7) / (2 + n % 7) for n in numbers])
    assert known["open_interest_change_10"].to_list() == pytest.approx([200 / (998 + n) for n in numbers])
    assert none["accounts_imbalance"].null_count() == 30


def test_values_that_change_are_logged(folder: Path, tmp_path: Path) -> None:
    metrics().write_parquet(folder / "BTC-USDT_metrics.parquet")
    with new_warehouse(tmp_path / "store") as store:
        ingest(store, folder)
        metrics(2.0).write_parquet(folder / "BTC-USDT_metrics.parquet")
        source = ArchiveMarket(folder)
        again = store_positioning(store, source, SYMBOLS, START, END, as_of=END, run_id="again", force=True)
        assert again.revised == 3 * 288
        log = store.read("SELECT DISTINCT field FROM market.candle_revisions")
        assert log["field"].to_list() == ["open_interest"]
        assert stored(store)["open_interest"][0] == 2000.0


def test_the_asset_stores_what_an_archive_has(make_platform: Make, folder: Path) -> None:
    metrics().write_parquet(folder / "BTC-USDT_metrics.parquet")
    platform = make_platform("archived", market="archive", archive=folder)
    keys = {dg.AssetKey(name) for name in ("instruments", "candles_1m", "positioning")}
    job = platform.defs.resolve_job_def(MARKET_DATA).get_subset(asset_selection=keys)
    last = END - timedelta(microseconds=1)
    outcome = execute(Step(MARKET_DATA, START.date().isoformat(), last.date().isoformat(), END), job, platform.instance)
    assert outcome.errors == ()
    assert stored(platform.warehouse).height == 3 * 288
    event = platform.instance.get_latest_materialization_event(dg.AssetKey("positioning"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["fetched"].value == 3 * 288
