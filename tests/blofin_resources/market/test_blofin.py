"""The exchange's client against an exchange that runs here: exact where it behaves, exact where it does not."""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from support.fake_exchange import FAULTS, Book, FakeExchange, Misbehaviour

from blofin_resources.errors import MarketError
from blofin_resources.market import open_market
from blofin_resources.market.archive import ArchiveMarket
from blofin_resources.market.base import INSTRUMENT_SCHEMA
from blofin_resources.market.blofin import BlofinClient, BlofinMarket, SharedLimiter
from blofin_resources.market.blofin.parse import TICKER_SCHEMA
from blofin_resources.market.sample import SampleMarket
from features.bars import MARK_SCHEMA

START = datetime(2020, 2, 1, tzinfo=UTC)
NOW = datetime(2020, 2, 15, 0, 0, 30, tzinfo=UTC)
SYMBOLS = ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
HURRY = 100.0
"""How much faster than the wall the tests' clock runs: limits and pauses keep their proportions."""

Make = Callable[..., FakeExchange]
Opened = Callable[..., BlofinMarket]


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return SampleMarket(7).candles_1m(SYMBOLS, START, NOW + timedelta(minutes=2)).with_columns(origin=pl.lit("blofin"))


@pytest.fixture(scope="module")
def payments() -> pl.DataFrame:
    return SampleMarket(7).funding(SYMBOLS, START, NOW)


@pytest.fixture(scope="module")
def book(history: pl.DataFrame, payments: pl.DataFrame) -> Book:
    return Book(history, payments)


@pytest.fixture
def exchange(book: Book) -> Make:
    def make(**changes: object) -> FakeExchange:
        return FakeExchange(book, lambda: NOW, **changes)  # type: ignore[arg-type]

    return make


class RecordingLimiter(SharedLimiter):
    """Remembers every slot that it gave."""

    slots: list[float]

    def reserve(self) -> float:
        self.slots.append(super().reserve())
        return self.slots[-1]


class SleptTime:
    """A clock that only sleeping moves: a machine that stands still for a second takes no time on it."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        await asyncio.sleep(seconds / HURRY)  # who sleeps less wakes first
        self.now = max(self.now, until)


@pytest.fixture
def slots() -> list[float]:
    return []


@pytest.fixture
def opened(tmp_path: Path, slots: list[float]) -> Opened:
    def make(
        exchange: FakeExchange,
        *,
        bound: float = 120.0,
        attempt: float = 0.5,
        hurry: float = HURRY,
        slept: SleptTime | None = None,
    ) -> BlofinMarket:
        async def fast_sleep(seconds: float) -> None:
            await asyncio.sleep(seconds / hurry)

        def connect() -> BlofinClient:
            limiter = RecordingLimiter(tmp_path / "limit.json", 5.0, slept or (lambda: time.time() * hurry))
            limiter.slots = slots
            jitter = random.Random(5)  # noqa: S311 - spreads pauses, guards nothing
            sleep = slept.sleep if slept else fast_sleep
            return BlofinClient(exchange.url, limiter, bound=bound, attempt=attempt, sleep=sleep, jitter=jitter)

        return BlofinMarket(exchange.url, clock=lambda: NOW, connect=connect, settling=0.01)

    return make


def _closed(history: pl.DataFrame, end: datetime = NOW) -> pl.DataFrame:
    return history.filter(pl.col("ts") + timedelta(minutes=1) <= end)


def test_a_backfill_is_exactly_the_closed_bars(exchange: Make, opened: Opened, history: pl.DataFrame) -> None:
    with exchange() as server:
        candles = opened(server).candles_1m(SYMBOLS, START, NOW + timedelta(days=1))
    assert_frame_equal(candles, _closed(history), check_exact=True)
    assert candles["ts"].max() == NOW.replace(second=0) - timedelta(minutes=1)


def test_a_bar_that_still_forms_over_there_is_dropped(book: Book, opened: Opened) -> None:
    behind = NOW - timedelta(seconds=70)
    with FakeExchange(book, lambda: behind) as server:
        candles = opened(server).candles_1m(["BTC-USDT"], NOW - timedelta(hours=1), NOW)
    assert candles["ts"].max() == datetime(2020, 2, 14, 23, 58, tzinfo=UTC)
    assert len(candles) == 58


def test_a_bar_that_is_closed_over_there_a_moment_later_is_waited_for(book: Book, opened: Opened) -> None:
    with FakeExchange(book, lambda: NOW) as server:

        def clock() -> datetime:
            asked = sum("after" in request.query for request in server.requests)
            return NOW - timedelta(seconds=40) if asked < 3 else NOW

        server.clock = clock
        candles = opened(server).candles_1m(["BTC-USDT"], NOW - timedelta(hours=1), NOW)
    assert candles["ts"].max() == datetime(2020, 2, 14, 23, 59, tzinfo=UTC)
    assert len(candles) == 59
    assert candles["ts"].is_unique().all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_misbehaviour_in_a_fifth_of_requests_changes_nothing(
    exchange: Make, opened: Opened, history: pl.DataFrame, payments: pl.DataFrame, slots: list[float], seed: int
) -> None:
    with exchange(misbehaviour=Misbehaviour(share=0.2, seed=seed)) as server:
        market = opened(server, bound=1200.0, hurry=10.0)
        candles = market.candles_1m(SYMBOLS, START, NOW)
        funding = market.funding(SYMBOLS, START, NOW)
        asked = sorted(request.moment * 10.0 for request in server.requests)
        assert any(request.fault for request in server.requests)
    assert_frame_equal(candles, _closed(history), check_exact=True)
    assert_frame_equal(funding, payments, check_exact=True)
    assert len(asked) <= len(slots)
    assert min(later - earlier for earlier, later in pairwise(sorted(slots))) > 0.2 - 1e-4
    assert all(moment > slot - 1e-3 for moment, slot in zip(asked, sorted(slots), strict=False))


@pytest.mark.parametrize("fault", FAULTS)
def test_each_misbehaviour_alone_is_survived(exchange: Make, opened: Opened, history: pl.DataFrame, fault: str) -> None:
    with exchange(misbehaviour=Misbehaviour(share=0.4, kinds=[fault], seed=3, stall_seconds=1.0)) as server:
        candles = opened(server, bound=1200.0).candles_1m(["BTC-USDT"], START, START + timedelta(days=3))
        assert any(request.fault for request in server.requests)
    expected = _closed(history, START + timedelta(days=3)).filter(pl.col("symbol") == "BTC-USDT")
    assert_frame_equal(candles, expected, check_exact=True)


@pytest.mark.parametrize("most_rows", [1, 97, 500])
def test_pages_shorter_than_asked_lose_nothing(
    exchange: Make, opened: Opened, history: pl.DataFrame, most_rows: int
) -> None:
    end = START + timedelta(minutes=40 if most_rows == 1 else 3000)
    with exchange(most_rows=most_rows) as server:
        candles = opened(server).candles_1m(["SOL-USDT"], START, end)
    assert_frame_equal(candles, _closed(history, end).filter(pl.col("symbol") == "SOL-USDT"), check_exact=True)


def test_an_outage_stays_a_gap(exchange: Make, opened: Opened, history: pl.DataFrame) -> None:
    lost, back = START + timedelta(days=2, hours=3), START + timedelta(days=2, hours=5)
    with exchange() as server:
        server.outage(lost, back)
        candles = opened(server).candles_1m(SYMBOLS, START, NOW)
    kept = _closed(history).filter(~pl.col("ts").is_between(lost, back, closed="left"))
    assert_frame_equal(candles, kept, check_exact=True)


def test_days_and_one_range_are_the_same(exchange: Make, opened: Opened, history: pl.DataFrame) -> None:
    with exchange() as server:
        market = opened(server)
        days = [START + timedelta(days=day) for day in range(4)]
        parts = [market.candles_1m(SYMBOLS, day, day + timedelta(days=1)) for day in days]
    whole = _closed(history, days[-1] + timedelta(days=1))
    assert_frame_equal(pl.concat(parts).sort("symbol", "ts"), whole, check_exact=True)


def test_the_archive_of_the_same_history_is_the_same_but_for_what_it_lacks(
    exchange: Make, opened: Opened, history: pl.DataFrame, tmp_path: Path
) -> None:
    for (symbol,), frame in history.group_by("symbol"):
        frame.select("ts", "open", "high", "low", "close", "volume").write_csv(tmp_path / f"{symbol}_1m.csv")
    with exchange() as server:
        candles = opened(server).candles_1m(SYMBOLS, START, NOW)
    lacking = ["origin", "quote_volume", "contracts"]
    archived = ArchiveMarket(tmp_path).candles_1m(SYMBOLS, START, NOW)
    assert_frame_equal(archived.drop(lacking), candles.drop(lacking), check_exact=True)


def test_a_revised_bar_is_given_as_it_is_now(exchange: Make, opened: Opened) -> None:
    moment = START + timedelta(days=1)
    with exchange() as server:
        market = opened(server)
        before = market.candles_1m(["BTC-USDT"], moment, moment + timedelta(minutes=1))
        server.revise("BTC-USDT", moment, "12345.6")
        after = market.candles_1m(["BTC-USDT"], moment, moment + timedelta(minutes=1))
    assert before["close"].item() != after["close"].item() == 12345.6


def test_one_symbol_that_disappears_does_not_cost_the_others(
    exchange: Make, opened: Opened, history: pl.DataFrame
) -> None:
    with exchange() as server:
        market = opened(server)
        assert market.symbols() == tuple(SYMBOLS)
        server.delist("ETH-USDT")
        came, failures = market.fetch_candles(SYMBOLS, START, NOW)
        with pytest.raises(MarketError, match=r"ETH-USDT: .*does not know the instrument.*152014"):
            market.candles_1m(SYMBOLS, START, NOW)
        fresh = opened(server)
        assert set(fresh.fetch_candles(SYMBOLS, START, START + timedelta(hours=1)).failures) == {"ETH-USDT"}
    assert_frame_equal(came, _closed(history).filter(pl.col("symbol") != "ETH-USDT"), check_exact=True)
    assert list(failures) == ["ETH-USDT"]


def test_unknown_symbols_name_what_is_listed(exchange: Make, opened: Opened) -> None:
    with (
        exchange() as server,
        pytest.raises(MarketError, match=r"unknown symbol FOO-USDT in blofin .*it has: BTC-USDT, ETH"),
    ):
        opened(server).candles_1m(["FOO-USDT"], START, NOW)


def test_an_exchange_that_is_down_fails_within_the_bound_in_one_line(exchange: Make, opened: Opened) -> None:
    with exchange() as server:
        market = opened(server, bound=20.0, slept=SleptTime())
        market.symbols()
        server.down = True
        before = len(server.requests)
        with pytest.raises(
            MarketError, match=r"no usable answer to GET /api/v1/market/candles for BTC-USDT within 20 s"
        ) as down:
            market.candles_1m(["BTC-USDT"], START, START + timedelta(days=1))
        assert 3 <= len(server.requests) - before <= 20
    assert "\n" not in str(down.value)


def test_an_exchange_that_dies_under_way_costs_one_bound_for_all_symbols_and_requests_together(
    exchange: Make, opened: Opened, slots: list[float]
) -> None:
    slept, bound = SleptTime(), 30.0  # more than twice the longest pause, so that no request gives up for itself
    with exchange() as server:
        market = opened(server, bound=bound, slept=slept)
        market.symbols()
        server.down = True
        began = len(slots)
        came = market.fetch_candles(SYMBOLS, START, NOW)  # more windows than are asked for at once
        assert set(came.failures) == set(SYMBOLS)
        with pytest.raises(MarketError, match="no usable answer") as one:
            came.require_all()
        assert str(one.value).count("no usable answer") == 1
        assert all(symbol in str(one.value) for symbol in SYMBOLS)
        assert (
            slots[-1] - slots[began] < 2 * bound
        )  # in the limiter's time, which the last tries' slots may exceed a little
        slept.now += bound  # the bound is used up by now, and the silence still fresh
        before = len(server.requests)
        with pytest.raises(MarketError, match="no usable answer"):
            market.funding(SYMBOLS, START, NOW)  # still silent: asked once more, not waited for anew
        assert len(server.requests) - before <= len(SYMBOLS)
        server.down = False
        assert market.funding(SYMBOLS, START, NOW).height > 0


def test_nobody_there_is_one_clear_line(exchange: Make, opened: Opened) -> None:
    with exchange() as server:
        market = opened(server, bound=3.0)
    with pytest.raises(MarketError, match="gave no usable answer to GET /api/v1/market/instruments"):
        market.symbols()


def test_a_form_that_stays_wrong_is_shown_shortened(exchange: Make, opened: Opened) -> None:
    with exchange(misbehaviour=Misbehaviour(share=1.0, kinds=["wrong_types"])) as server:
        market = opened(server, bound=600.0)
        with pytest.raises(MarketError, match=r"is not as documented: .*payload: ") as wrong:
            market.symbols()
        assert len(server.requests) == 8
    assert len(str(wrong.value)) < 600


def test_a_long_shut_out_stops_all_requests_at_once(exchange: Make, opened: Opened) -> None:
    with exchange(misbehaviour=Misbehaviour(share=1.0, kinds=["http_403"], retry_after="")) as server:
        with pytest.raises(MarketError, match="has shut this address out"):
            opened(server).symbols()
        with pytest.raises(MarketError, match="not sent; run again after"):
            opened(server).symbols()
        assert len(server.requests) == 1


def test_funding_comes_at_its_own_times_over_many_pages(opened: Opened, payments: pl.DataFrame) -> None:
    many = pl.DataFrame(
        {
            "symbol": "BTC-USDT",
            "ts": [START + timedelta(hours=hour) for hour in range(330)],
            "rate": [1e-5 * k for k in range(330)],
        },
        schema=payments.schema,
    )
    history = SampleMarket(7).candles_1m(["BTC-USDT"], START, START + timedelta(minutes=5))
    with FakeExchange(Book(history, many), lambda: NOW) as server:
        funding = opened(server).funding(["BTC-USDT"], START, START + timedelta(hours=320))
    assert_frame_equal(funding, many.head(321), check_exact=True)


def test_instruments_tiers_marks_and_tickers(exchange: Make, opened: Opened, history: pl.DataFrame) -> None:
    with exchange() as server:
        market = opened(server)
        instruments = market.instruments(["SOL-USDT", "BTC-USDT"], NOW)
        marks = market.fetch_mark_candles(["BTC-USDT"], START, START + timedelta(hours=2)).require_all()
        tickers = market.tickers(["BTC-USDT"])
        assert market.first_ts("BTC-USDT") == START
        with pytest.raises(MarketError, match="the first opens at 2020-02-01T00:00Z"):
            market.candles_1m(["BTC-USDT"], START - timedelta(days=9), START - timedelta(days=8))
    assert instruments.schema == INSTRUMENT_SCHEMA
    assert instruments["symbol"].to_list() == ["BTC-USDT", "SOL-USDT"]
    assert instruments["maintenance_margin_rate"].to_list() == [0.004, 0.004]
    assert instruments.null_count().sum_horizontal().item() == 0
    assert marks.schema == MARK_SCHEMA
    expected = _closed(history, START + timedelta(hours=2)).filter(pl.col("symbol") == "BTC-USDT")
    assert_frame_equal(marks, expected.select(marks.columns), check_exact=True)
    assert tickers.schema == TICKER_SCHEMA
    assert tickers["last"].item() == history.filter(pl.col("symbol") == "BTC-USDT", pl.col("ts") <= NOW)["close"][-1]


def test_the_factory_opens_the_exchange_at_any_address() -> None:
    market = open_market("blofin", archive=None, api_url="http://127.0.0.1:9/", seed=0)
    assert (market.name, market.identity, market.synthetic) == ("blofin", "blofin http://127.0.0.1:9", False)
    with pytest.raises(MarketError, match="is no web address"):
        open_market("blofin", archive=None, api_url="openapi.blofin.com", seed=0)
