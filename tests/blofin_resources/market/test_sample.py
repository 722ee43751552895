"""The synthetic exchange: the same bars however they are asked for, and none that the clock has not reached."""

import hashlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from backtester.resampling import aggregate
from blofin_resources.errors import MarketError
from blofin_resources.market import checks, open_market
from blofin_resources.market.sample import SampleMarket, Variant
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, Timeframe, bar_length

START = datetime(2020, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TWO = ["BTC-USDT", "SOL-USDT"]

DIGEST = """
import hashlib, sys
from datetime import UTC, datetime, timedelta
from blofin_resources.market.sample import SampleMarket
start = datetime(2020, 3, 1, tzinfo=UTC)
frame = SampleMarket(7).candles(["BTC-USDT", "SOL-USDT"], "1m", start, start + timedelta(days=2))
print(hashlib.sha256(frame.write_ipc(None).getvalue()).hexdigest())
"""


@pytest.mark.parametrize("variant", ["plain", "null", "edge"])
@pytest.mark.parametrize("step", [DAY, timedelta(hours=1), timedelta(minutes=617)])
def test_a_range_equals_its_parts(variant: Variant, step: timedelta) -> None:
    whole = SampleMarket(7, variant).candles(TWO, "1m", START, START + 3 * DAY)
    market = SampleMarket(7, variant)
    parts, at = [], START
    while at < START + 3 * DAY:
        until = min(at + step, START + 3 * DAY)
        parts.append(market.candles(TWO, "1m", at, until))
        at = until
    assert_frame_equal(pl.concat(parts).sort("symbol", "ts"), whole, check_exact=True)


def test_the_order_of_requests_changes_nothing() -> None:
    forward, backward = SampleMarket(7), SampleMarket(7)
    days = [START, START + 40 * DAY, START + 80 * DAY]
    first = [forward.candles(["ETH-USDT"], "1m", day, day + DAY) for day in days]
    second = [backward.candles(["ETH-USDT"], "1m", day, day + DAY) for day in reversed(days)]
    for one, other in zip(first, reversed(second), strict=True):
        assert_frame_equal(one, other, check_exact=True)


@settings(max_examples=25)
@given(st.integers(0, 3 * 1440 - 1), st.integers(0, 3 * 1440))
def test_what_has_happened_does_not_depend_on_the_rest(first: int, length: int) -> None:
    end = START + timedelta(minutes=min(first + length, 3 * 1440))
    start = START + timedelta(minutes=first)
    seen = SampleMarket(7, clock=lambda: end).candles(TWO, "1m", start, START + 3 * DAY)
    later = SampleMarket(7).candles(TWO, "1m", START, START + 3 * DAY)
    inside = later.filter(pl.col("ts") >= start, pl.col("ts") + timedelta(minutes=1) <= end)
    assert_frame_equal(seen, inside, check_exact=True)


def test_nothing_is_given_before_it_is_closed() -> None:
    now = datetime(2020, 3, 1, 10, 37, 59, tzinfo=UTC)
    market = SampleMarket(7, clock=lambda: now)
    today = market.candles(TWO, "1m", START, START + DAY)
    assert today["ts"].max() == datetime(2020, 3, 1, 10, 36, tzinfo=UTC)
    assert market.coverage("BTC-USDT").through == datetime(2020, 3, 1, 10, 37, tzinfo=UTC)
    assert market.funding(TWO, START, START + DAY)["ts"].max() == datetime(2020, 3, 1, 8, tzinfo=UTC)


def test_an_end_inside_a_minute_leaves_that_minute_out() -> None:
    end = START + timedelta(minutes=5, seconds=30)
    assert SampleMarket(7).candles(["BTC-USDT"], "1m", START + timedelta(seconds=1), end)["ts"].to_list() == [
        START + timedelta(minutes=minute) for minute in (1, 2, 3, 4)
    ]


def test_another_process_makes_the_same_bytes() -> None:
    here = SampleMarket(7).candles(TWO, "1m", START, START + 2 * DAY).write_ipc(None).getvalue()
    there = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True).stdout.strip()
    assert hashlib.sha256(here).hexdigest() == there


def test_seeds_and_variants_are_different_markets() -> None:
    markets = [SampleMarket(seed, variant) for seed in (7, 8) for variant in ("plain", "null", "edge")]
    assert len({market.identity for market in markets}) == 6
    closes = [market.candles(["BTC-USDT"], "1m", START, START + DAY)["close"].to_list() for market in markets]
    assert all(one != other for i, one in enumerate(closes) for other in closes[:i])


def test_frames_have_the_shared_schemas_and_one_sorted_row_a_minute() -> None:
    market = SampleMarket(7)
    candles = market.candles(["SOL-USDT", "BTC-USDT", "SOL-USDT"], "1m", START, START + DAY)
    assert candles.schema == CANDLE_SCHEMA
    assert_frame_equal(candles, candles.sort("symbol", "ts"))
    assert len(candles) == 2 * 1440
    assert market.funding(TWO, START, START + DAY).schema == FUNDING_SCHEMA
    assert candles["flag"].null_count() == len(candles)


def test_every_listed_symbol_passes_the_checks_of_real_bars() -> None:
    market = SampleMarket(7)
    for symbol in market.symbols():
        candles = market.candles([symbol], "1m", START, START + 5 * DAY)
        assert checks.unsound(candles, "1m") == {}
        assert checks.jumps(candles).is_empty()
        assert checks.incomplete_days(candles, "1m", START, START + 5 * DAY, [symbol]).is_empty()


def test_prices_lie_on_the_tick_and_sizes_on_the_lot() -> None:
    market = SampleMarket(7)
    for symbol in ("BTC-USDT", "DOGE-USDT"):
        candles = market.candles([symbol], "1m", START, START + DAY)
        instrument = market.instruments([symbol], START).row(0, named=True)
        for price in checks.PRICES:
            ticks = candles[price] / instrument["tick_size"]
            assert (ticks - ticks.round()).abs().max() < 1e-4
        lots = candles["contracts"] / instrument["lot_size"]
        assert (lots - lots.round()).abs().max() < 1e-6
        assert_frame_equal(
            candles.select(volume=pl.col("contracts") * instrument["contract_value"]),
            candles.select("volume"),
            rel_tol=1e-9,
        )
        paid = candles["quote_volume"] / candles["volume"]
        assert paid.is_between(candles["low"] - 1e-9 * paid, candles["high"] + 1e-9 * paid).all()


def test_funding_is_paid_every_eight_hours_and_is_the_same_in_parts() -> None:
    market = SampleMarket(7)
    whole = market.funding(TWO, START, START + 3 * DAY)
    assert whole.group_by("symbol").len()["len"].to_list() == [10, 10]
    assert set(whole["ts"].dt.hour()) == {0, 8, 16}
    parts = [market.funding(TWO, START + k * DAY, START + (k + 1) * DAY - timedelta(seconds=1)) for k in range(3)]
    rest = market.funding(TWO, START + 3 * DAY, START + 3 * DAY)
    assert_frame_equal(pl.concat([*parts, rest]).sort("symbol", "ts"), whole, check_exact=True)
    assert whole["rate"].abs().max() <= 0.003  # type: ignore[operator]


def test_the_factory_opens_each_variant() -> None:
    opened = {
        name: open_market(name, archive=None, api_url="", seed=3).identity
        for name in ("sample", "sample:null", "sample:edge")
    }
    assert opened == {
        "sample": "sample seed=3",
        "sample:null": "sample:null seed=3",
        "sample:edge": "sample:edge seed=3",
    }


def test_unknown_symbols_name_what_there_is() -> None:
    with pytest.raises(
        MarketError, match=r"unknown symbol FOO-USDT in the sample market; it has: ADA-USDT, .*XRP-USDT"
    ):
        SampleMarket(7).candles(["BTC-USDT", "FOO-USDT"], "1m", START, START + DAY)


def test_a_range_before_the_first_candle_names_it() -> None:
    with pytest.raises(MarketError, match=r"the first opens at 2020-01-01T00:00Z"):
        SampleMarket(7).candles(TWO, "1m", datetime(2019, 1, 1, tzinfo=UTC), datetime(2019, 2, 1, tzinfo=UTC))


def test_unknown_markets_and_naive_times_are_refused() -> None:
    with pytest.raises(MarketError, match=r"unknown market 'bitmex'.*sample.*archive.*blofin"):
        open_market("bitmex", archive=None, api_url="", seed=1)
    with pytest.raises(MarketError, match="BLOFIN_ARCHIVE"):
        open_market("archive", archive=None, api_url="", seed=1)
    with pytest.raises(MarketError, match="has no time zone"):
        SampleMarket(7).candles(TWO, "1m", datetime(2020, 3, 1), START)  # noqa: DTZ001 - that is the point
    with pytest.raises(MarketError, match="after its end"):
        SampleMarket(7).candles(TWO, "1m", START + DAY, START)


@pytest.mark.parametrize("timeframe", ["60m", "1d"])
def test_longer_bars_are_what_their_minutes_make_in_any_stretch(timeframe: Timeframe) -> None:
    market = SampleMarket(7)
    end = START + 3 * DAY + timedelta(minutes=90)
    whole = market.candles(TWO, timeframe, START, end)
    assert_frame_equal(whole, aggregate(market.candles(TWO, "1m", START, end), timeframe, end), check_exact=True)
    length = bar_length(timeframe)
    parts = [market.candles(TWO, timeframe, START + n * length, START + (n + 1) * length) for n in range(3)]
    assert_frame_equal(pl.concat(parts).sort("symbol", "ts"), whole.filter(pl.col("ts") < START + 3 * length))
    late = market.candles(TWO, timeframe, START + timedelta(minutes=1), end)
    assert_frame_equal(late, whole.filter(pl.col("ts") > START), check_exact=True)
