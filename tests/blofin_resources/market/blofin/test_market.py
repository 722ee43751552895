"""The exchange's client against an exchange that runs here: exact where it behaves, exact where it does not."""

import asyncio
import json
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, pairwise
from pathlib import Path
from types import MappingProxyType

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from support.fake_exchange import FAULTS, Book, FakeExchange, Misbehaviour

from backtester.resampling import aggregate
from blofin_resources.errors import MarketError
from blofin_resources.market import open_market
from blofin_resources.market.archive import ArchiveMarket
from blofin_resources.market.blofin import BlofinClient, BlofinMarket, SharedLimiter
from blofin_resources.market.blofin.parse import TICKER_SCHEMA
from blofin_resources.market.sample import SampleMarket
from blofin_resources.market.source import INSTRUMENT_SCHEMA, no_funding
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MARK_SCHEMA, Timeframe

pytestmark = pytest.mark.slow

START = datetime(2020, 2, 1, tzinfo=UTC)
NOW = datetime(2020, 2, 15, 0, 0, 30, tzinfo=UTC)
SYMBOLS = ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
HURRY = 1_000.0
"""How much faster than the wall a slept second is: who sleeps less still wakes first."""

Make = Callable[..., FakeExchange]
Opened = Callable[..., BlofinMarket]


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return (
        SampleMarket(7).candles(SYMBOLS, "1m", START, NOW + timedelta(minutes=2)).with_columns(origin=pl.lit("blofin"))
    )


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


Timing = tuple[Callable[[], float], Callable[[float], Awaitable[None]]]


def _hurried(hurry: float) -> Timing:
    """Return the wall's clock and a sleep, both `hurry` times as fast: for tests that look at when a request came."""
    return lambda: time.time() * hurry, lambda seconds: asyncio.sleep(seconds / hurry)


def _slept(slept: SleptTime) -> Timing:
    return slept, slept.sleep


@pytest.fixture
def slots() -> list[float]:
    return []


@pytest.fixture
def opened(tmp_path: Path, slots: list[float]) -> Opened:
    def make(
        exchange: FakeExchange,
        *,
        bound: float = 120.0,
        attempt: float = 30.0,
        wait: float = 0.0,
        hurry: float | None = None,
        slept: SleptTime | None = None,
    ) -> BlofinMarket:
        now, sleep = _hurried(hurry) if hurry else _slept(slept or SleptTime())

        def connect() -> BlofinClient:
            limiter = RecordingLimiter(tmp_path / "limit.json", 5.0, now)
            limiter.slots = slots
            jitter = random.Random(5)  # noqa: S311 - spreads pauses, guards nothing
            return BlofinClient(
                exchange.url, limiter, bound=bound, attempt=attempt, wait=wait, sleep=sleep, jitter=jitter
            )

        return BlofinMarket(exchange.url, clock=lambda: NOW, connect=connect, settling=0.01)

    return make


def _closed(history: pl.DataFrame, end: datetime = NOW) -> pl.DataFrame:
    return history.filter(pl.col("ts") + timedelta(minutes=1) <= end)


def test_a_backfill_is_exactly_the_closed_bars(exchange: Make, opened: Opened, history: pl.DataFrame) -> None:
    with exchange() as server:
        candles = opened(server).candles(SYMBOLS, "1m", START, NOW + timedelta(days=1))
    assert_frame_equal(candles, _closed(history), check_exact=True)
    assert candles["ts"].max() == NOW.replace(second=0) - timedelta(minutes=1)


def test_a_bar_that_still_forms_over_there_is_dropped(book: Book, opened: Opened) -> None:
    behind = NOW - timedelta(seconds=70)
    with FakeExchange(book, lambda: behind) as server:
        candles = opened(server).candles(["BTC-USDT"], "1m", NOW - timedelta(hours=1), NOW)
    assert candles["ts"].max() == datetime(2020, 2, 14, 23, 58, tzinfo=UTC)
    assert len(candles) == 58


def test_a_bar_that_is_closed_over_there_a_moment_later_is_waited_for(book: Book, opened: Opened) -> None:
    with FakeExchange(book, lambda: NOW) as server:

        def clock() -> datetime:
            asked = sum("after" in request.query for request in server.requests)
            return NOW - timedelta(seconds=40) if asked < 3 else NOW

        server.clock = clock
        candles = opened(server).candles(["BTC-USDT"], "1m", NOW - timedelta(hours=1), NOW)
    assert candles["ts"].max() == datetime(2020, 2, 14, 23, 59, tzinfo=UTC)
    assert len(candles) == 59
    assert candles["ts"].is_unique().all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_misbehaviour_in_a_fifth_of_requests_changes_nothing(
    exchange: Make, opened: Opened, history: pl.DataFrame, payments: pl.DataFrame, slots: list[float], seed: int
) -> None:
    with exchange(misbehaviour=Misbehaviour(share=0.2, seed=seed)) as server:
        market = opened(server, bound=1200.0, hurry=10.0, attempt=0.5)
        candles = market.candles(SYMBOLS, "1m", START, NOW)
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
        market = opened(server, bound=1200.0, attempt=0.5)
        candles = market.candles(["BTC-USDT"], "1m", START, START + timedelta(days=3))
        assert any(request.fault for request in server.requests)
    expected = _closed(history, START + timedelta(days=3)).filter(pl.col("symbol") == "BTC-USDT")
    assert_frame_equal(candles, expected, check_exact=True)


@pytest.mark.parametrize("most_rows", [1, 97, 500])
def test_pages_shorter_than_asked_lose_nothing(
    exchange: Make, opened: Opened, history: pl.DataFrame, most_rows: int
) -> None:
    end = START + timedelta(minutes=40 if most_rows == 1 else 3000)
    with exchange(most_rows=most_rows) as server:
        candles = opened(server).candles(["SOL-USDT"], "1m", START, end)
    assert_frame_equal(candles, _closed(history, end).filter(pl.col("symbol") == "SOL-USDT"), check_exact=True)


def test_an_outage_stays_a_gap(exchange: Make, opened: Opened, history: pl.DataFrame) -> None:
    lost, back = START + timedelta(days=2, hours=3), START + timedelta(days=2, hours=5)
    with exchange() as server:
        server.outage(lost, back)
        candles = opened(server).candles(SYMBOLS, "1m", START, NOW)
    kept = _closed(history).filter(~pl.col("ts").is_between(lost, back, closed="left"))
    assert_frame_equal(candles, kept, check_exact=True)


def test_days_and_one_range_are_the_same(exchange: Make, opened: Opened, history: pl.DataFrame) -> None:
    with exchange() as server:
        market = opened(server)
        days = [START + timedelta(days=day) for day in range(4)]
        parts = [market.candles(SYMBOLS, "1m", day, day + timedelta(days=1)) for day in days]
    whole = _closed(history, days[-1] + timedelta(days=1))
    assert_frame_equal(pl.concat(parts).sort("symbol", "ts"), whole, check_exact=True)


def test_the_archive_of_the_same_history_is_the_same_but_for_what_it_lacks(
    exchange: Make, opened: Opened, history: pl.DataFrame, tmp_path: Path
) -> None:
    for (symbol,), frame in history.group_by("symbol"):
        frame.select("ts", "open", "high", "low", "close", "volume").write_csv(tmp_path / f"{symbol}_1m.csv")
    with exchange() as server:
        candles = opened(server).candles(SYMBOLS, "1m", START, NOW)
    lacking = ["origin", "quote_volume", "contracts"]
    archived = ArchiveMarket(tmp_path).candles(SYMBOLS, "1m", START, NOW)
    assert_frame_equal(archived.drop(lacking), candles.drop(lacking), check_exact=True)


def test_a_revised_bar_is_given_as_it_is_now(exchange: Make, opened: Opened) -> None:
    moment = START + timedelta(days=1)
    with exchange() as server:
        market = opened(server)
        before = market.candles(["BTC-USDT"], "1m", moment, moment + timedelta(minutes=1))
        server.revise("BTC-USDT", moment, "12345.6")
        after = market.candles(["BTC-USDT"], "1m", moment, moment + timedelta(minutes=1))
    assert before["close"].item() != after["close"].item() == 12345.6


def _asked(server: FakeExchange, what: str) -> int:
    """Count the requests for one thing; another one that was given up may reach the server's list late."""
    return sum(what in request.path for request in server.requests)


def test_one_symbol_that_disappears_does_not_cost_the_others(
    exchange: Make, opened: Opened, history: pl.DataFrame
) -> None:
    with exchange() as server:
        market = opened(server)
        assert market.symbols() == tuple(SYMBOLS)
        server.delist("ETH-USDT")
        came, failures = market.fetch_candles(SYMBOLS, "1m", START, NOW)
        with pytest.raises(MarketError, match=r"ETH-USDT: .*does not know the instrument.*152014"):
            market.candles(SYMBOLS, "1m", START, NOW)
        fresh = opened(server)
        assert set(fresh.fetch_candles(SYMBOLS, "1m", START, START + timedelta(hours=1)).failures) == {"ETH-USDT"}
    assert_frame_equal(came, _closed(history).filter(pl.col("symbol") != "ETH-USDT"), check_exact=True)
    assert list(failures) == ["ETH-USDT"]


def test_unknown_symbols_name_what_is_listed(exchange: Make, opened: Opened) -> None:
    with (
        exchange() as server,
        pytest.raises(MarketError, match=r"unknown symbol FOO-USDT in blofin .*it has: BTC-USDT, ETH"),
    ):
        opened(server).candles(["FOO-USDT"], "1m", START, NOW)


def test_an_exchange_that_is_down_fails_within_the_bound_in_one_line(exchange: Make, opened: Opened) -> None:
    with exchange() as server:
        market = opened(server, bound=20.0, slept=SleptTime())
        market.symbols()
        server.down = True
        before = len(server.requests)
        with pytest.raises(
            MarketError, match=r"no usable answer to GET /api/v1/market/candles for BTC-USDT within 20 s"
        ) as down:
            market.candles(["BTC-USDT"], "1m", START, START + timedelta(days=1))
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
        came = market.fetch_candles(SYMBOLS, "1m", START, NOW)  # more windows than are asked for at once
        assert set(came.failures) == set(SYMBOLS)
        with pytest.raises(MarketError, match="no usable answer") as one:
            came.require_all()
        assert str(one.value).count("no usable answer") == 1
        assert all(symbol in str(one.value) for symbol in SYMBOLS)
        assert (
            slots[-1] - slots[began] < 2 * bound
        )  # in the limiter's time, which the last tries' slots may exceed a little
        slept.now += bound  # the bound is used up by now, and the silence still fresh
        with pytest.raises(MarketError, match="no usable answer"):
            market.funding(SYMBOLS, START, NOW)  # still silent: asked once more, not waited for anew
        assert _asked(server, "funding") <= len(SYMBOLS)
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
        with pytest.raises(MarketError, match="is blocking this address"):
            opened(server).symbols()
        with pytest.raises(MarketError, match="not sent; run again after"):
            opened(server).symbols()
        assert len(server.requests) == 1


class ShutOnce(FakeExchange):
    """Answers some requests, counted from the first, with a 429 that does not say for how long, and some with a 500."""

    at: frozenset[int] = frozenset({5})
    broken: frozenset[int] = frozenset()
    said: Mapping[str, str] = MappingProxyType({})

    def __post_init__(self) -> None:
        super().__post_init__()
        self._number = count(1)

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        number = next(self._number)
        told = super().answer(path, query)
        if number in self.broken:
            return 500, {}, b"oops"
        return (429, dict(self.said), b"too many requests") if number in self.at else told


@pytest.mark.parametrize("changes", [{"bound": 700.0}, {"wait": 3600.0}])
def test_one_429_in_a_backfill_is_waited_for_and_the_rest_comes(
    book: Book, opened: Opened, history: pl.DataFrame, changes: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    slept = SleptTime()
    began = slept.now
    with ShutOnce(book, lambda: NOW) as server:
        candles = opened(server, slept=slept, **changes).candles(SYMBOLS, "1m", START, NOW)
    assert_frame_equal(candles, _closed(history), check_exact=True)
    assert 300 < slept.now - began < 330
    assert ["waiting until" in record.message for record in caplog.records] == [True]


def test_after_a_wait_a_request_has_its_whole_patience_again(book: Book, opened: Opened) -> None:
    slept = SleptTime()
    began = slept.now
    with ShutOnce(book, lambda: NOW) as server:
        server.at, server.broken = frozenset({1}), frozenset({2, 3})
        assert opened(server, slept=slept, wait=3600.0).symbols() == tuple(SYMBOLS)
    assert 300 < slept.now - began < 330


@pytest.mark.parametrize("said", ["inf", "nan", "1e12"])
def test_a_time_that_no_exchange_means_shuts_nobody_out_for_good(
    book: Book, opened: Opened, tmp_path: Path, said: str
) -> None:
    slept = SleptTime()
    with ShutOnce(book, lambda: NOW) as server:
        server.at, server.said = frozenset({1}), {"retry-after": said}
        with pytest.raises(MarketError, match="run again after"):
            opened(server, slept=slept).symbols()
    state = json.loads((tmp_path / "limit.json").read_text(encoding="utf-8"))
    assert 0 < state["shut_until"] - slept.now <= 86_400


def test_a_shut_out_that_another_process_met_is_waited_for_where_it_may_be(
    book: Book, opened: Opened, history: pl.DataFrame
) -> None:
    slept, end = SleptTime(), START + timedelta(days=1)
    with ShutOnce(book, lambda: NOW) as server:
        server.at = frozenset({2, 9})
        with pytest.raises(
            MarketError, match=r"run again after .*, or let it wait: blofin run --wait, or BLOFIN_API_P"
        ):
            opened(server, slept=slept).candles(SYMBOLS, "1m", START, end)
        asked = _asked(server, "instruments")
        with pytest.raises(MarketError, match="not sent"):
            opened(server, slept=slept).symbols()
        assert _asked(server, "instruments") == asked
        patient = opened(server, slept=slept, wait=3600.0)
        assert_frame_equal(patient.candles(SYMBOLS, "1m", START, end), _closed(history, end), check_exact=True)


def test_an_exchange_that_never_opens_is_not_waited_for_for_ever(exchange: Make, opened: Opened) -> None:
    slept = SleptTime()
    began = slept.now
    with exchange(misbehaviour=Misbehaviour(share=1.0, kinds=["http_429"], retry_after="")) as server:
        with pytest.raises(MarketError, match="is blocking this address"):
            opened(server, slept=slept, wait=900.0).symbols()
        assert 2 <= len(server.requests) <= 4
    assert 500 < slept.now - began <= 1000


def _in_java(text: str) -> str:
    """Return a number as Java's Double.toString writes it: with an exponent below 1e-3 and from 1e7 on."""
    value = float(text)
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return text
    digits, _, exponent = f"{Decimal(text).normalize():e}".partition("e")
    return f"{digits}E{int(exponent)}"


@pytest.mark.parametrize("written", [_in_java, lambda text: repr(float(text)), lambda text: f"{float(text):.14e}"])
def test_numbers_with_an_exponent_are_numbers(opened: Opened, written: Callable[[str], str]) -> None:
    candles = SampleMarket(7).candles(["BTC-USDT"], "1m", START, START + timedelta(hours=2))
    small = pl.col("open", "high", "low", "close") / 2**40
    candles = candles.with_columns(small, pl.col("quote_volume") * 1e4, origin=pl.lit("blofin"))
    candles = candles.with_columns(pl.col(pl.Float64).round_sig_figs(12))
    paid = [1e-4, -7.68e-06, 3.2e-07, 0.0, -1e-12]
    times = [START + timedelta(hours=8 * k) for k in range(5)]
    rates = pl.DataFrame({"symbol": "BTC-USDT", "ts": times, "rate": paid}).cast(FUNDING_SCHEMA)  # type: ignore[arg-type]
    plain, book = Book(candles, rates), Book(candles, rates)
    book.bars["BTC-USDT"] = [[row[0], *map(written, row[1:8]), row[8]] for row in book.bars["BTC-USDT"]]
    book.marks["BTC-USDT"] = [[row[0], *map(written, row[1:5]), row[5]] for row in book.marks["BTC-USDT"]]
    book.rates["BTC-USDT"] = [{**row, "fundingRate": written(row["fundingRate"])} for row in book.rates["BTC-USDT"]]
    seen = []
    for each in (plain, book):
        with FakeExchange(each, lambda: NOW) as server:
            market = opened(server)
            ranges = (["BTC-USDT"], START, START + timedelta(hours=40))
            seen.append(
                (
                    market.candles(["BTC-USDT"], "1m", *ranges[1:]),
                    market.mark_candles_1m(*ranges),
                    market.funding(*ranges),
                )
            )
    assert seen[0][2]["rate"].to_list() == paid
    for one, other in zip(*seen, strict=True):
        assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize(
    ("rate", "text"), [("5.0", "a funding rate beyond 0.1"), ("0.0001x", "not a number"), ("", "not a number")]
)
def test_one_bad_payment_is_named_by_its_row(book: Book, opened: Opened, rate: str, text: str) -> None:
    with FakeExchange(book, lambda: NOW) as server:
        moment = START + timedelta(days=3)
        server.revise_funding("BTC-USDT", moment, rate)
        came = opened(server).fetch_funding(SYMBOLS, START, NOW)
    assert list(came.failures) == ["BTC-USDT"]
    told = str(came.failures["BTC-USDT"])
    assert text in told
    assert f"'fundingRate': '{rate}', 'fundingTime': '{moment.timestamp() * 1000:.0f}'" in told
    assert re.search(r"row \d+ of \d+ is", told)


def test_payments_some_milliseconds_late_are_of_their_minute_and_twice_is_refused(
    opened: Opened, payments: pl.DataFrame, history: pl.DataFrame
) -> None:
    bars = history.filter(pl.col("symbol") == "BTC-USDT").head(5)
    own = payments.filter(pl.col("symbol") == "BTC-USDT")
    late = own.with_columns(pl.col("ts") + timedelta(milliseconds=3))
    for given in (late, pl.concat([own[:7], late[7:]])):
        with FakeExchange(Book(bars, given), lambda: NOW) as server:
            market = opened(server)
            assert_frame_equal(market.funding(["BTC-USDT"], START, NOW), own, check_exact=True)
            first, second = own["ts"][3], own["ts"][4]
            assert market.funding(["BTC-USDT"], first, second)["ts"].to_list() == [first, second]
    with FakeExchange(Book(bars, pl.concat([own, late[9:10]]).sort("ts")), lambda: NOW) as server:
        with pytest.raises(MarketError, match="not newest first, each time once"):
            opened(server).funding(["BTC-USDT"], START, NOW)
        server.most_rows = 1
        with pytest.raises(MarketError, match=r"gives the payment of BTC-USDT at .* twice, with rates"):
            opened(server).funding(["BTC-USDT"], START, NOW)


def test_funding_comes_at_its_own_times_over_many_pages(opened: Opened, payments: pl.DataFrame) -> None:
    many = pl.DataFrame(
        {
            "symbol": "BTC-USDT",
            "ts": [START + timedelta(hours=hour) for hour in range(330)],
            "rate": [1e-5 * k for k in range(330)],
        },
        schema=payments.schema,
    )
    history = SampleMarket(7).candles(["BTC-USDT"], "1m", START, START + timedelta(minutes=5))
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
            market.candles(["BTC-USDT"], "1m", START - timedelta(days=9), START - timedelta(days=8))
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
    with pytest.raises(MarketError, match="is not a web address"):
        open_market("blofin", archive=None, api_url="openapi.blofin.com", seed=0)


@pytest.mark.parametrize(("timeframe", "bar"), [("60m", "1H"), ("1d", "1D")])
def test_longer_bars_are_requested_as_such(
    exchange: Make, opened: Opened, history: pl.DataFrame, timeframe: Timeframe, bar: str
) -> None:
    with exchange() as server:
        candles = opened(server).candles(SYMBOLS, timeframe, START, NOW)
        pages = [request.query for request in server.requests if request.path.endswith("/candles")]
    assert {query["bar"] for query in pages} == {bar}
    assert len(pages) == len(SYMBOLS)
    assert_frame_equal(candles, aggregate(_closed(history), timeframe, NOW), check_exact=True)


def test_years_of_hours_are_walked_page_by_page(opened: Opened) -> None:
    hours = _hours(4000)
    book = Book(hours.clear(), no_funding(), longer={"60m": hours})
    with FakeExchange(book, lambda: NOW, most_rows=700) as server:
        market = opened(server)
        candles = market.candles(["AA-USDT"], "60m", hours["ts"][0] - timedelta(days=9), NOW)
        assert market.listings().rows() == [("AA-USDT", hours["ts"][0], None, "live")]
    assert_frame_equal(candles, hours, check_exact=True)


def test_bars_off_the_grid_in_utc_are_refused(opened: Opened) -> None:
    hours = _hours(40).with_columns(pl.col("ts").dt.offset_by("8m"))
    book = Book(hours.clear(), no_funding(), longer={"60m": hours})
    text = "a bar does not open on the 60m grid in UTC"
    with FakeExchange(book, lambda: NOW) as server, pytest.raises(MarketError, match=text):
        opened(server).candles(["AA-USDT"], "60m", hours["ts"][0], NOW)


def _hours(count: int) -> pl.DataFrame:
    ts = [NOW.replace(second=0) - timedelta(hours=count - k) for k in range(count)]
    price = [100.0 + k % 13 for k in range(count)]
    return pl.DataFrame(
        {
            "symbol": "AA-USDT", "ts": ts, "open": price, "high": [p + 2.0 for p in price], "close": price,
            "low": [p - 2.0 for p in price], "volume": 5.0, "quote_volume": 500.0, "contracts": 50.0, "minutes": 60,
            "origin": "blofin", "flag": None,
        },
        schema_overrides=dict(CANDLE_SCHEMA),
    ).select(CANDLE_SCHEMA.names())  # fmt: skip
