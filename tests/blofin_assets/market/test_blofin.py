"""The platform on an exchange that runs here: what comes in, what fails, what changes later, what is said of gaps."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from support.fake_exchange import Book, FakeExchange, Misbehaviour
from support.platform import Make, Platform, content, differing

from blofin_assets.scheduling.runner import Outcome, execute
from blofin_assets.shared.cadences import MARKET_DATA, Step
from blofin_resources.market.blofin import SharedLimiter, market
from blofin_resources.market.ingestion import retry_days
from blofin_resources.market.sample import SampleMarket
from features.bars import TIMEFRAMES

START = datetime(2026, 3, 1, tzinfo=UTC)
NOON = START + timedelta(hours=36)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SYMBOLS = ["BTC-USDT", "ETH-USDT"]
MARKET = {dg.AssetKey(name) for name in ("instruments", "candles_1m", "candles_5m", "funding_rates", "market_gaps")}
BLOFIN = Path(sys.executable).with_name("blofin")


class Clock:
    """The exchange's present, moved by hand."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now + timedelta(seconds=30)


@pytest.fixture(scope="module")
def book() -> Book:
    sample = SampleMarket(7)
    end = START + 13 * DAY
    return Book(sample.candles(SYMBOLS, "1m", START, end), sample.funding(SYMBOLS, START, end))


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


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
    return on_exchange(make_platform, exchange, patience=2.0)


def on_exchange(make: Make, exchange: FakeExchange, folder: str = "live", patience: float = 60.0) -> Platform:
    return make(folder, market="blofin", api_url=exchange.url, api_patience=patience)


def bring(platform: Platform, as_of: datetime, first: datetime = START, last: datetime | None = None) -> Outcome:
    """Run the market assets, without features, as a step of a plan."""
    job = platform.defs.resolve_job_def(MARKET_DATA).get_subset(asset_selection=MARKET)
    end = (as_of if last is None else last) - timedelta(microseconds=1)
    step = Step(MARKET_DATA, first.date().isoformat(), end.date().isoformat(), as_of)
    return execute(step, job, platform.instance)


def good(outcome: Outcome) -> None:
    assert outcome.errors == ()


def bars(platform: Platform) -> pl.DataFrame:
    return platform.warehouse.candles(SYMBOLS, "1m", None, START + 30 * DAY)


def asked(exchange: FakeExchange, symbol: str) -> int:
    return sum(each.path.endswith("/candles") and each.query["instId"] == symbol for each in exchange.requests)


def gaps(platform: Platform) -> list[tuple[object, ...]]:
    return platform.warehouse.read(
        "SELECT symbol, from_ts, to_ts, bars, kind, closed_at FROM market.gaps ORDER BY symbol, from_ts"
    ).rows()


def expected(start: datetime, end: datetime) -> pl.DataFrame:
    return SampleMarket(7).candles(SYMBOLS, "1m", start, end).with_columns(origin=pl.lit("blofin"))


@pytest.mark.slow
def test_what_comes_in_is_the_exchanges_closed_bars_and_nothing_is_fetched_twice(
    live: Platform, exchange: FakeExchange, clock: Clock
) -> None:
    good(bring(live, NOON))
    assert bars(live).equals(expected(START, NOON))
    assert asked(exchange, "BTC-USDT") == 2
    clock.now = NOON + HOUR
    good(bring(live, clock.now))
    assert bars(live).equals(expected(START, NOON + HOUR))
    assert asked(exchange, "BTC-USDT") == 3
    good(bring(live, clock.now))
    assert asked(exchange, "BTC-USDT") == 3
    assert gaps(live) == []


@pytest.mark.slow
def test_one_symbol_that_fails_is_named_and_costs_the_others_nothing(
    live: Platform, impatient: Platform, exchange: FakeExchange
) -> None:
    exchange.mute("ETH-USDT")
    (error,) = (line for line in bring(impatient, NOON).errors if line.startswith("candles_1m"))
    assert "ETH-USDT" in error
    assert "BTC-USDT:" not in error
    assert "\n" not in error
    assert set(bars(live)["symbol"]) == {"BTC-USDT"}
    covered = live.warehouse.covered("candles_1m", SYMBOLS, START.date(), NOON.date() + DAY)
    assert covered.select("symbol", "through").rows() == [("BTC-USDT", START + DAY), ("BTC-USDT", NOON)]
    exchange.restore()
    before = asked(exchange, "BTC-USDT")
    good(bring(live, NOON))
    assert bars(live).equals(expected(START, NOON))
    assert asked(exchange, "BTC-USDT") == before


@pytest.mark.slow
def test_an_exchange_that_is_down_is_one_line_and_what_was_stored_stays(
    live: Platform, impatient: Platform, exchange: FakeExchange, clock: Clock
) -> None:
    good(bring(live, NOON))
    exchange.down = True
    clock.now = NOON + HOUR
    errors = bring(impatient, clock.now).errors
    assert len(errors) == 1
    assert f"{exchange.url} gave no usable answer" in errors[0]
    assert "within 2 s" in errors[0]
    assert "\n" not in errors[0]
    assert bars(live).equals(expected(START, NOON))
    exchange.down = False
    good(bring(live, clock.now))
    assert bars(live).equals(expected(START, clock.now))


@pytest.mark.slow
def test_a_late_revision_replaces_the_bar_and_what_is_made_of_it_and_is_logged(
    live: Platform, exchange: FakeExchange, clock: Clock
) -> None:
    good(bring(live, NOON))
    moment = NOON - timedelta(minutes=1)
    exchange.revise("BTC-USDT", moment, "1.5")
    clock.now = NOON + HOUR
    good(bring(live, clock.now))
    logged = live.warehouse.read("SELECT symbol, ts, field, new_value, seen_at FROM market.candle_revisions")
    assert ("BTC-USDT", moment, "close", "1.5", clock.now) in logged.rows()
    assert set(logged["symbol"]) == {"BTC-USDT"}
    five = live.warehouse.read(
        "SELECT close FROM market.candles_5m WHERE symbol = 'BTC-USDT' AND ts = ?", [moment - timedelta(minutes=4)]
    )
    assert five.item() == 1.5


@pytest.mark.slow
def test_a_late_revision_of_funding_replaces_the_payment_and_is_logged(
    live: Platform, exchange: FakeExchange, clock: Clock
) -> None:
    paid = START + timedelta(hours=8)
    clock.now = paid + HOUR / 2
    good(bring(live, clock.now))
    (before,) = live.warehouse.read(
        "SELECT rate FROM market.funding_rates WHERE ts = ? AND symbol = 'BTC-USDT'", [paid]
    )["rate"]
    exchange.revise_funding("BTC-USDT", paid, "0.0125")
    clock.now = paid + HOUR
    good(bring(live, clock.now))
    stored = live.warehouse.read("SELECT rate FROM market.funding_rates WHERE ts = ? AND symbol = 'BTC-USDT'", [paid])
    assert stored["rate"].to_list() == [0.0125]
    logged = live.warehouse.read("SELECT symbol, ts, field, old_value, new_value FROM market.candle_revisions")
    (row,) = logged.rows()
    assert row[:3] == ("BTC-USDT", paid, "funding_rate")
    assert (float(row[3]), float(row[4])) == (before, 0.0125)


@pytest.mark.slow
def test_an_outage_is_in_the_ledger_until_the_exchange_fills_it(
    live: Platform, exchange: FakeExchange, clock: Clock
) -> None:
    first, last = START + timedelta(hours=20), START + timedelta(hours=22)
    exchange.outage(first, last)
    good(bring(live, NOON))
    assert gaps(live) == [(symbol, first, last, 120, "outage", None) for symbol in SYMBOLS]
    flags = live.warehouse.read("SELECT count(*) FROM market.candles_5m WHERE ts >= ? AND ts < ?", [first, last])
    assert flags.item() == 0
    assert retry_days(live.warehouse, SYMBOLS, NOON) == []
    clock.now = NOON + HOUR
    assert retry_days(live.warehouse, SYMBOLS, clock.now) == [date(2026, 3, 1), date(2026, 3, 2)]
    assert live.progress.missing_days(START.date(), clock.now)[0] == date(2026, 3, 1)
    good(bring(live, clock.now))
    assert gaps(live)[0][-1] is None
    assert retry_days(live.warehouse, SYMBOLS, clock.now) == []
    exchange.restore()
    clock.now = NOON + 2 * HOUR
    good(bring(live, clock.now))
    assert bars(live).equals(expected(START, clock.now))
    assert gaps(live) == [(symbol, first, last, 120, "outage", clock.now) for symbol in SYMBOLS]
    whole = live.warehouse.read("SELECT bars, missing FROM market.completeness WHERE day = ?", [START.date()])
    assert whole.rows() == [(1440, 0)] * 2


@pytest.mark.slow
def test_an_instrument_that_disappears_is_delisted_and_the_others_go_on(
    make_platform: Make, exchange: FakeExchange, clock: Clock
) -> None:
    live = on_exchange(make_platform, exchange)
    good(bring(live, NOON))
    exchange.delist("ETH-USDT")
    clock.now = NOON + HOUR
    again = make_platform("live", market="blofin", api_url=exchange.url, api_patience=59.0)  # a new process' listing
    good(bring(again, clock.now))
    state = live.warehouse.read("SELECT state FROM market.instruments WHERE symbol = 'ETH-USDT' ORDER BY as_of")
    assert state["state"].to_list() == ["live", "delisted"]
    assert gaps(live) == [("ETH-USDT", NOON, NOON + HOUR, 60, "delisted", None)]
    assert bars(live).filter(pl.col("symbol") == "BTC-USDT")["ts"].max() == NOON + HOUR - timedelta(minutes=1)


@pytest.mark.slow
def test_a_symbol_that_never_was_is_refused_with_those_that_are(make_platform: Make, exchange: FakeExchange) -> None:
    live = make_platform("live", market="blofin", api_url=exchange.url, symbols="BTC-USDT,MOON-USDT")
    (error,) = bring(live, NOON).errors
    assert "MOON-USDT" in error
    assert "ETH-USDT" in error


@pytest.mark.long
def test_exchange_and_archive_in_pages_days_hours_and_one_range_give_identical_tables(
    make_platform: Make, clock: Clock, exchange: FakeExchange, tmp_path: Path
) -> None:
    end = START + 3 * DAY
    clock.now = end
    folder = tmp_path / "archive"
    folder.mkdir()
    sample = SampleMarket(7)
    for symbol in SYMBOLS:
        candles = sample.candles([symbol], "1m", START, end)
        candles.write_parquet(folder / f"{symbol}_1m.parquet")
        # the fake exchange's mark price is its last price where it is given no other
        candles.select("ts", "open", "high", "low", "close").write_parquet(folder / f"{symbol}_mark.parquet")
        sample.funding([symbol], START, end).write_parquet(folder / f"{symbol}_funding.parquet")
    one_range, days, hours = (on_exchange(make_platform, exchange, name) for name in ("range", "days", "hours"))
    archive = make_platform("archived", market="archive", archive=folder)
    one_range.run(end, (MARKET_DATA,))
    archive.run(end, (MARKET_DATA,))
    for day in range(3):
        days.run(START + (day + 1) * DAY, (MARKET_DATA,))
    exchange.most_rows = 97
    for hour in (5, 6, 23, 24, 25, 48, 71, 72):
        hours.run(START + hour * HOUR, (MARKET_DATA,))
    tables = (
        *(f"market.candles_{timeframe}" for timeframe in TIMEFRAMES), "market.mark_candles_1m",
        "market.funding_rates", "market.coverage", "market.gaps",
        "features.features_1m", "features.features_5m", "features.features_60m",
    )  # fmt: skip
    for table in tables:
        whole = content(one_range.warehouse, table)
        for other in (days, hours):
            assert differing(content(other.warehouse, table), whole) == [], table
        assert differing(content(archive.warehouse, table), whole) in ([], ["origin"]), table


@pytest.mark.long
def test_a_backfill_through_a_fifth_of_bad_answers_is_exactly_the_exchanges_bars(
    make_platform: Make, book: Book, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    clock.now = START + 12 * DAY
    wrong = Misbehaviour(share=0.2, seed=4, stall_seconds=1.0)
    with FakeExchange(book, clock, misbehaviour=wrong) as server:
        live = make_platform("live", market="blofin", api_url=server.url)
        good(bring(live, clock.now))
        assert any(request.fault for request in server.requests)
        moments = sorted(request.moment for request in server.requests)
    assert bars(live).equals(expected(START, clock.now))
    assert gaps(live) == []
    assert all(moments[n + 20] - moments[n] > 3.5 for n in range(len(moments) - 20))


@pytest.mark.long
def test_the_hourly_schedule_keeps_it_current_as_the_clock_moves(live: Platform, clock: Clock) -> None:
    for hours in range(4):
        clock.now = NOON + hours * HOUR
        schedule = live.defs.resolve_schedule_def("market_data_schedule")
        with dg.build_schedule_context(
            instance=live.instance, scheduled_execution_time=clock.now, resources=dict(live.defs.resources or {})
        ) as context:
            schedule.evaluate_tick(context)
        with dg.build_sensor_context(
            instance=live.instance,
            repository_def=live.defs.get_repository_def(),
            resources=dict(live.defs.resources or {}),
        ) as context:
            (request,) = live.defs.resolve_sensor_def("conductor").evaluate_tick(context).run_requests or []
        assert request.job_name == MARKET_DATA
        first = request.partition_key or request.tags["dagster/asset_partition_range_start"]
        last = request.partition_key or request.tags["dagster/asset_partition_range_end"]
        step = Step(MARKET_DATA, first, last, datetime.fromisoformat(request.tags["blofin/as_of"]))
        good(execute(step, live.defs.resolve_job_def(MARKET_DATA), live.instance))
        assert bars(live).equals(expected(START, clock.now))
        newest = live.warehouse.read("SELECT max(ts) FROM features.features_5m").item()
        assert newest == clock.now - timedelta(minutes=5)


@pytest.mark.long
def test_one_setting_and_the_command_run_on_the_exchange(exchange: FakeExchange, clock: Clock, tmp_path: Path) -> None:
    as_of = START + 12 * DAY
    clock.now = as_of
    environment = {
        **os.environ,
        "BLOFIN_MARKET": "blofin",
        "BLOFIN_API_URL": exchange.url,
        "BLOFIN_WAREHOUSE": str(tmp_path / "real"),
        "BLOFIN_SYMBOLS": ",".join(SYMBOLS),
        "BLOFIN_START": "2026-03-01",
        "BLOFIN_UNIVERSE": "off",
        "BLOFIN_API_PATIENCE": "3",
    }

    def run(moment: datetime) -> subprocess.CompletedProcess[str]:
        command = [BLOFIN, "run", "--as-of", moment.isoformat()]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = run(as_of)
    assert done.returncode == 0, done.stderr
    assert "2026-03-12.html" in done.stdout
    page = (tmp_path / "real" / "reports" / "2026-03-12.html").read_text(encoding="utf-8")
    assert "Synthetic market" not in page
    exchange.down = True
    failed = run(as_of + HOUR)
    assert failed.returncode == 1
    line = failed.stderr.strip()
    assert "gave no usable answer" in line
    assert "\n" not in line


@pytest.mark.slow
def test_an_exchange_cut_off_for_six_hours_costs_nothing_once_it_is_back(
    live: Platform, impatient: Platform, exchange: FakeExchange, clock: Clock
) -> None:
    good(bring(live, NOON))
    exchange.down = True
    for hours in (1, 6):
        clock.now = NOON + hours * HOUR
        (error,) = (line for line in bring(impatient, clock.now).errors if line.startswith("instruments"))
        assert "\n" not in error
    assert bars(live).equals(expected(START, NOON))
    exchange.down = False
    clock.now = NOON + 7 * HOUR
    good(bring(live, clock.now))
    assert bars(live).equals(expected(START, clock.now))
    assert gaps(live) == []
    assert live.warehouse.integrity() == []


@pytest.mark.long
def test_a_clock_that_jumps_ahead_and_back_loses_and_doubles_nothing(live: Platform, clock: Clock) -> None:
    good(bring(live, NOON))
    ahead = NOON + 30 * HOUR  # what this machine believes; the exchange is still at noon
    bring(live, ahead)
    assert bars(live).equals(expected(START, NOON))
    clock.now = NOON + HOUR  # the clock is set right, and time goes on
    good(bring(live, clock.now))
    clock.now = NOON + 31 * HOUR
    good(bring(live, clock.now))
    good(bring(live, NOON + 2 * HOUR))  # it jumps back
    clock.now = NOON + 32 * HOUR
    good(bring(live, clock.now))
    assert bars(live).equals(expected(START, clock.now))
    assert [row for row in gaps(live) if row[-1] is None] == []
    assert live.warehouse.integrity() == []
