"""Mark prices on the platform: what comes in, what fails without stopping anything, what is made up for."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from support.fake_exchange import Book, FakeExchange
from support.platform import Make, Platform

from backtester import PooledResult, evaluate
from blofin_assets.forward.revisions import first_change
from blofin_assets.scheduling.runner import Outcome, execute
from blofin_assets.shared.cadences import MARKET_DATA, Step
from blofin_assets.shared.candle_cache import feature_manager
from blofin_resources.market.blofin import SharedLimiter, market
from blofin_resources.market.sample import SampleMarket
from features.bars import MARK_SCHEMA, Timeframe

pytestmark = pytest.mark.slow

START = datetime(2026, 3, 1, tzinfo=UTC)
NOON = START + timedelta(hours=36)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SYMBOLS = ["BTC-USDT", "ETH-USDT"]
ASSETS = {dg.AssetKey(name) for name in ("instruments", "candles_1m", "mark_candles_1m")}
PRICES = ("open", "high", "low", "close")


class Clock:
    """The exchange's present, moved by hand."""

    now = NOON

    def __call__(self) -> datetime:
        return self.now + timedelta(seconds=30)


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return SampleMarket(7).candles(SYMBOLS, "1m", START, START + 3 * DAY)


@pytest.fixture(scope="module")
def marks(candles: pl.DataFrame) -> pl.DataFrame:
    return candles.select("symbol", "ts", *((pl.col(name) * 2.0) for name in PRICES)).cast(MARK_SCHEMA)


@pytest.fixture(scope="module")
def book(candles: pl.DataFrame, marks: pl.DataFrame) -> Book:
    return Book(candles, SampleMarket(7).funding(SYMBOLS, START, START + 3 * DAY), marks)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def exchange(book: Book, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeExchange]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # a limiter of this test's own
    monkeypatch.setattr(market, "SharedLimiter", partial(SharedLimiter, per_second=1_000.0))
    with FakeExchange(book, clock) as server:
        yield server


@pytest.fixture
def live(make_platform: Make, exchange: FakeExchange) -> Platform:
    return on_exchange(make_platform, exchange)


@pytest.fixture
def impatient(make_platform: Make, exchange: FakeExchange) -> Platform:
    """The same platform where the exchange gives no answers that are worth waiting for."""
    return on_exchange(make_platform, exchange, api_patience=2.0)


def on_exchange(make: Make, exchange: FakeExchange, **changes: object) -> Platform:
    return make("live", **{"market": "blofin", "api_url": exchange.url, "api_patience": 60.0, **changes})


def bring(platform: Platform, as_of: datetime, first: datetime = START) -> Outcome:
    """Run instruments, candles and mark prices as a step of a plan."""
    job = platform.defs.resolve_job_def(MARKET_DATA).get_subset(asset_selection=ASSETS)
    last = as_of - timedelta(microseconds=1)
    step = Step(MARKET_DATA, first.date().isoformat(), last.date().isoformat(), as_of)
    return execute(step, job, platform.instance)


def good(outcome: Outcome) -> None:
    assert outcome.errors == ()


def stored(platform: Platform) -> pl.DataFrame:
    return platform.warehouse.mark_candles(SYMBOLS, START, START + 3 * DAY)


def closed(marks: pl.DataFrame, end: datetime) -> pl.DataFrame:
    return marks.filter(pl.col("ts") + timedelta(minutes=1) <= end)


def asked(exchange: FakeExchange) -> int:
    return sum(each.path.endswith("/mark-price-candles") for each in exchange.requests)


def lacking(platform: Platform) -> str:
    """Return what the last run said of mark prices that it could not get."""
    event = platform.instance.get_latest_materialization_event(dg.AssetKey("mark_candles_1m"))
    assert event is not None
    assert event.asset_materialization is not None
    return str(event.asset_materialization.metadata.get("lacking", dg.MetadataValue.text("")).value)


def test_the_closed_bars_of_the_mark_price_come_in_and_nothing_is_fetched_twice(
    live: Platform, exchange: FakeExchange, clock: Clock, marks: pl.DataFrame
) -> None:
    good(bring(live, NOON))
    assert stored(live).equals(closed(marks, NOON))
    assert set(live.warehouse.read("SELECT DISTINCT origin FROM market.mark_candles_1m")["origin"]) == {"blofin"}
    assert asked(exchange) == 4
    good(bring(live, NOON))
    assert asked(exchange) == 4
    clock.now = NOON + HOUR
    good(bring(live, clock.now, START + DAY))
    assert asked(exchange) == 6
    assert stored(live).equals(closed(marks, clock.now))
    assert live.warehouse.integrity() == []


def test_a_symbol_without_mark_prices_stops_nothing_and_is_made_up_for(
    live: Platform, impatient: Platform, exchange: FakeExchange, clock: Clock, marks: pl.DataFrame
) -> None:
    exchange.mute_marks("ETH-USDT")
    good(bring(impatient, NOON))
    assert stored(live).equals(closed(marks, NOON).filter(pl.col("symbol") == "BTC-USDT"))
    assert lacking(live).startswith("ETH-USDT: ")
    before = asked(exchange)
    exchange.restore()
    clock.now = NOON + HOUR
    good(bring(live, clock.now, START + DAY))  # a day later than where the mark prices are lacking
    assert lacking(live) == ""
    assert stored(live).equals(closed(marks, clock.now))
    assert asked(exchange) == before + 3


@pytest.mark.slow
def test_fetching_that_is_cut_short_goes_on_where_it_stopped(
    live: Platform, impatient: Platform, exchange: FakeExchange, marks: pl.DataFrame
) -> None:
    good(bring(live, START + DAY))
    for symbol in SYMBOLS:
        exchange.mute_marks(symbol)
    good(bring(impatient, NOON))
    assert stored(live).equals(closed(marks, START + DAY))
    exchange.restore()
    before = asked(exchange)
    good(bring(live, NOON))
    assert stored(live).equals(closed(marks, NOON))
    assert asked(exchange) == before + 2


@pytest.mark.slow
def test_by_hand_a_failure_is_a_failure(live: Platform, impatient: Platform, exchange: FakeExchange) -> None:
    good(bring(live, NOON))
    exchange.mute_marks("ETH-USDT")
    job = impatient.defs.resolve_job_def(MARKET_DATA).get_subset(asset_selection={dg.AssetKey("mark_candles_1m")})
    tags = {"blofin/as_of": NOON.isoformat()}
    result = job.execute_in_process(instance=live.instance, partition_key="2026-03-01", tags=tags, raise_on_error=False)
    assert not result.success


@pytest.mark.slow
def test_a_mark_price_that_changes_later_is_logged(live: Platform, exchange: FakeExchange, clock: Clock) -> None:
    good(bring(live, NOON))
    exchange.revise_mark("BTC-USDT", NOON - timedelta(minutes=5), "1")
    clock.now = NOON + HOUR
    good(bring(live, clock.now, START + DAY))
    logged = live.warehouse.read("SELECT symbol, field, new_value FROM market.candle_revisions ORDER BY field")
    assert logged.rows() == [("BTC-USDT", "mark_close", "1.0"), ("BTC-USDT", "mark_low", "1.0")]


class Borrowed:
    """Is always long, or always short, with borrowed money."""

    timeframes: tuple[Timeframe, ...] = ("1m", "5m")
    version = "1"

    def __init__(self, side: str) -> None:
        self.name = self.side = side

    def features(self, timeframe: Timeframe) -> list[str]:  # noqa: ARG002 - the protocol's argument
        return []

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("symbol", "ts", pl.lit(value=True).alias(f"{self.side}_entry"), leverage=pl.lit(50.0))


def test_backtests_liquidate_by_the_stored_mark_price(live: Platform, exchange: FakeExchange) -> None:
    """The mark price is twice the last one here: no long is ever liquidated, every short at once."""
    exchange.lose_marks(START + 20 * HOUR, START + 21 * HOUR)
    good(bring(live, NOON))
    manager = feature_manager(live.warehouse, NOON)

    def found(side: str, start: datetime, end: datetime) -> PooledResult:
        timeframes: tuple[Timeframe, ...] = ("1m",)
        (made,) = evaluate([Borrowed(side)], manager, SYMBOLS, start, end, timeframes=timeframes)
        assert made.pooled is not None
        return made.pooled

    long, short = (found(side, START, START + 20 * HOUR) for side in ("long", "short"))
    assert (long.liquidations, long.liquidation_price) == (0, "mark")
    assert (short.liquidations, short.liquidation_price) == (short.trades, "mark")
    assert found("short", START, START + 21 * HOUR).liquidation_price == "mixed"
    gap = found("long", START + 20 * HOUR, START + 21 * HOUR)
    assert gap.liquidation_price == "last"


@pytest.mark.slow
def test_a_ledger_tells_a_mark_price_that_came_later_from_look_ahead(
    live: Platform, exchange: FakeExchange, clock: Clock
) -> None:
    exchange.lose_marks(NOON - 2 * HOUR, NOON - HOUR)
    good(bring(live, NOON))
    snapshot = live.warehouse.snapshot_id()
    assert first_change(live.warehouse, snapshot, SYMBOLS, START, NOON) is None
    exchange.restore()
    clock.now = NOON + HOUR
    good(bring(live, clock.now, START + DAY))
    assert first_change(live.warehouse, snapshot, SYMBOLS, START, NOON) is None  # beyond what is fetched again
    job = live.defs.resolve_job_def(MARKET_DATA).get_subset(asset_selection={dg.AssetKey("mark_candles_1m")})
    tags = {"blofin/as_of": clock.now.isoformat()}
    assert job.execute_in_process(instance=live.instance, partition_key="2026-03-02", tags=tags).success
    assert first_change(live.warehouse, snapshot, SYMBOLS, START, NOON) == NOON - 2 * HOUR
    assert first_change(live.warehouse, 1, SYMBOLS, START, NOON) == START


@pytest.mark.slow
def test_they_can_be_turned_off(make_platform: Make, exchange: FakeExchange) -> None:
    platform = on_exchange(make_platform, exchange, mark_prices=False)
    good(bring(platform, NOON))
    assert asked(exchange) == 0
    assert stored(platform).is_empty()


@pytest.mark.slow
def test_a_market_without_them_is_complete(make_platform: Make) -> None:
    platform = make_platform("plain")
    good(bring(platform, NOON))
    assert stored(platform).is_empty()
    assert lacking(platform) == ""
