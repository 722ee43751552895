"""Symbols that end or begin under way: their lanes do, all else goes on; data that has not come stops a cycle."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from support.platform import AS_OF, START, Make, Platform

from backtester.simulation.bar_arrays import PRICES
from blofin_assets.health import collect_health
from blofin_assets.market.assets import changed_terms
from blofin_assets.shared.candle_cache import CachedCandleSource
from blofin_assets.shared.coverage import DATASETS, require_market_data
from blofin_resources.errors import BlofinError
from blofin_resources.market.archive import ArchiveMarket
from blofin_resources.market.ingestion import (
    delisted_at,
    describe_instruments,
    invalidate_after_relisting,
    record_coverage,
    store_candles,
    store_funding,
    update_gap_ledger,
)
from blofin_resources.market.sample import SampleMarket
from blofin_resources.market.source import DELISTED
from blofin_resources.market.steps import LOOKED_BACK, load_steps, set_step_meaning

pytestmark = pytest.mark.slow

SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT")
FIRST = datetime(START.year, START.month, START.day, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
OVER = AS_OF - 3 * DAY - timedelta(hours=5, minutes=17)
"""When trading in SOL-USDT ends: inside the holdout."""
BEGUN = AS_OF - 2 * DAY
STEP = datetime(2026, 3, 10, 7, 31, tzinfo=UTC)
"""When trading in XRP-USDT begins."""


def archive(folder: Path, until: datetime = AS_OF, **ends: datetime) -> Path:
    """Write an archive of the sample market in which symbols end, named by their base currency."""
    folder.mkdir(exist_ok=True)
    for symbol in SYMBOLS:
        start = BEGUN if symbol == "XRP-USDT" else FIRST
        end = ends.get(symbol[:3], until)
        for name, rows in zip(("1m", "funding"), made(symbol), strict=True):
            last = end - timedelta(minutes=1) if name == "1m" else end
            rows.filter(pl.col("ts").is_between(start, last)).write_parquet(folder / f"{symbol}_{name}.parquet")
    return folder


@cache
def made(symbol: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return candles and funding of one symbol of the sample market: to make them takes longer than all else here."""
    market, end = SampleMarket(7), AS_OF + 2 * DAY
    return market.candles([symbol], "1m", FIRST, end), market.funding([symbol], FIRST, end)


def bring(platform: Platform, folder: Path, as_of: datetime = AS_OF) -> None:
    """Bring candles, funding and the ledger in as the market's job does, and say that what is made of them is there."""
    store, source, symbols = platform.warehouse, ArchiveMarket(folder), platform.settings.symbols
    described = describe_instruments(store, source, symbols, as_of)
    with store.transaction("test") as tx:
        invalidate_after_relisting(store, tx.replace, described, as_of)
        tx.append("market.instruments", changed_terms(store, described), key=["symbol", "as_of"])
    for take in (store_candles, store_funding):
        take(store, source, symbols, FIRST, as_of, as_of=as_of, run_id="test")
    update_gap_ledger(store, symbols, FIRST, as_of, as_of=as_of, run_id="test")
    with store.transaction("test") as tx:
        for dataset in set(DATASETS) - {"candles_1m", "funding_rates", "gaps"}:
            record_coverage(tx, store, dataset, symbols, FIRST, as_of, NOTHING)


NOTHING = pl.DataFrame(schema={"symbol": pl.String, "day": pl.Date, "rows": pl.Int32})


def on_archive(make: Make, folder: Path, name: str = "warehouse") -> Platform:
    return make(name, market="archive", archive=folder, symbols=",".join(SYMBOLS))


def test_an_archives_symbol_that_ends_a_day_before_the_others_is_delisted(tmp_path: Path) -> None:
    market = ArchiveMarket(archive(tmp_path / "a", SOL=OVER))
    states = {at: dict(market.instruments(SYMBOLS, at).select("symbol", "state").iter_rows()) for at in (OVER, AS_OF)}
    assert [symbol for symbol, state in states[AS_OF].items() if state == DELISTED] == ["SOL-USDT"]
    assert states[OVER] == states[AS_OF]
    before = market.instruments(SYMBOLS, OVER - timedelta(minutes=1))
    assert set(before["state"]) == {"live"}
    late = ArchiveMarket(archive(tmp_path / "b", SOL=AS_OF - timedelta(hours=20)))
    assert set(late.instruments(SYMBOLS, AS_OF)["state"]) == {"live"}
    together = ArchiveMarket(archive(tmp_path / "c", AS_OF - DAY - DAY / 2))
    assert set(together.instruments(SYMBOLS[:3], AS_OF)["state"]) == {"live"}


def test_data_that_has_not_come_yet_stops_a_cycle_and_trading_that_ended_does_not(
    make_platform: Make, tmp_path: Path
) -> None:
    folder = archive(tmp_path / "archive", AS_OF - timedelta(hours=6), SOL=OVER)
    platform = on_archive(make_platform, folder)
    bring(platform, folder)
    store = platform.warehouse
    assert delisted_at(store, SYMBOLS, AS_OF) == {"SOL-USDT": OVER}
    assert delisted_at(store, SYMBOLS, OVER - timedelta(minutes=1)) == {}
    kinds = dict(store.read("SELECT symbol, string_agg(DISTINCT kind) FROM market.gaps GROUP BY symbol").iter_rows())
    assert kinds == {
        "BTC-USDT": "outage",
        "ETH-USDT": "outage",
        "SOL-USDT": "delisted",
        "XRP-USDT": "not_yet_listed,outage",
    }
    require_market_data(store, SYMBOLS, AS_OF - WEEK, AS_OF - timedelta(hours=6))
    require_market_data(store, SYMBOLS, AS_OF - DAY, AS_OF - timedelta(hours=6))  # it ended before the window
    require_market_data(store, SYMBOLS, BEGUN - DAY, BEGUN - timedelta(hours=1))  # another had not begun
    with pytest.raises(BlofinError, match=r"BTC-USDT has [0-9,]+ of .*the last 6:00:00 before the end") as refused:
        require_market_data(store, SYMBOLS, AS_OF - WEEK, AS_OF)
    assert "leave" not in str(refused.value)
    with pytest.raises(BlofinError, match=r"none of SOL-USDT has .*SOL-USDT traded until 2026-03-09 18:43"):
        require_market_data(store, ["SOL-USDT"], AS_OF - DAY, AS_OF - timedelta(hours=6))
    archive(folder, AS_OF)  # the file was late after all: it is traded again, nothing is lost
    bring(platform, folder, AS_OF + timedelta(minutes=1))
    assert delisted_at(store, SYMBOLS, AS_OF + DAY) == {}
    require_market_data(store, SYMBOLS, AS_OF - WEEK, AS_OF)
    assert store.candles(["SOL-USDT"], "1m", FIRST, AS_OF).height == (AS_OF - FIRST) // timedelta(minutes=1)
    assert store.funding(["SOL-USDT"], OVER, AS_OF).height == 10


@pytest.mark.long
def test_a_delisted_symbol_ends_its_lanes_and_every_cycle_goes_on(make_platform: Make, tmp_path: Path) -> None:
    folder = archive(tmp_path / "archive", AS_OF + 2 * DAY, SOL=OVER)
    platform = on_archive(make_platform, folder)
    platform.run()
    store = platform.warehouse
    report = json.loads(
        store.read("SELECT report_json FROM reports.daily_reports ORDER BY as_of DESC")["report_json"][0]
    )
    assert report["market"]["ended"] == [{"symbol": "SOL-USDT", "at": "2026-03-09T18:43:00+00:00"}]
    items = {item.name: item for item in collect_health(store, platform.instance, platform.settings, AS_OF)}
    assert "SOL-USDT ended at 2026-03-09 18:43" in items["symbols"].detail
    assert items["symbols"].ok


@pytest.fixture
def stepped(make_platform: Make, tmp_path: Path) -> Platform:
    """A platform whose ETH-USDT is redenominated a thousand to one."""
    folder = archive(tmp_path / "archive", AS_OF)
    path = folder / "ETH-USDT_1m.parquet"
    later = [pl.when(pl.col("ts") >= STEP).then(pl.col(name) * 1000).otherwise(name).alias(name) for name in PRICES]
    pl.read_parquet(path).with_columns(later).write_parquet(path)
    platform = on_archive(make_platform, folder)
    bring(platform, folder)
    return platform


def test_a_step_is_named_and_its_symbol_kept_out_until_somebody_says_what_it_is(stepped: Platform) -> None:
    store, settings = stepped.warehouse, stepped.settings
    rows = store.read("SELECT symbol, ts, round(ratio) AS ratio, meaning, before_ts FROM market.steps").rows()
    assert rows == [("ETH-USDT", STEP, 1000.0, None, STEP - timedelta(minutes=1))]

    def first(at: datetime = AS_OF) -> datetime | None:
        source = CachedCandleSource(store, at)
        candles = source.candles(list(SYMBOLS[:2]), "1m", at - WEEK, at)
        assert candles.filter(pl.col("symbol") == "BTC-USDT").height == 7 * 1440
        return candles.filter(pl.col("symbol") == "ETH-USDT")["ts"].min()  # type: ignore[return-value]

    assert first() is None
    assert first(STEP) == STEP - WEEK
    recorded = CachedCandleSource(store, AS_OF, recorded=True).candles(["ETH-USDT"], "1m", AS_OF - WEEK, AS_OF)
    assert recorded.height == 7 * 1440
    (item,) = [item for item in collect_health(store, stepped.instance, settings, AS_OF) if item.name == "price steps"]
    assert not item.ok
    assert "ETH-USDT steps by 1,00" in item.detail
    assert "blofin step ETH-USDT 2026-03-10T07:31Z real" in item.detail
    require_market_data(store, SYMBOLS, AS_OF - WEEK, AS_OF)
    with pytest.raises(BlofinError, match="every symbol is excluded: ETH-USDT steps by"):
        require_market_data(store, ["ETH-USDT"], AS_OF - WEEK, AS_OF)
    with pytest.raises(BlofinError, match="ETH-USDT has no step at 2026-03-10T07:32Z; known steps: ETH-USDT steps by"):
        set_step_meaning(store, "ETH-USDT", STEP + timedelta(minutes=1), "real", run_id="test")
    set_step_meaning(store, "ETH-USDT", STEP, "units", run_id="test")
    assert first() == STEP
    set_step_meaning(store, "ETH-USDT", STEP, "real", run_id="test")
    assert first() == AS_OF - WEEK
    assert CachedCandleSource(store, AS_OF).real_steps == {("ETH-USDT", STEP)}
    update_gap_ledger(store, SYMBOLS, FIRST, AS_OF, as_of=AS_OF + DAY, run_id="test")
    assert store.read("SELECT meaning FROM market.steps").rows() == [("real",)]
    assert "price steps" not in {item.name for item in collect_health(store, stepped.instance, settings, AS_OF)}


def test_a_step_that_nobody_explains_is_where_the_symbol_begins_once_no_window_reaches_it(stepped: Platform) -> None:
    late = STEP + LOOKED_BACK + timedelta(minutes=1)
    found = load_steps(stepped.warehouse, late, SYMBOLS)
    assert (found.out, found.begins) == (frozenset(), {"ETH-USDT": STEP})
