"""Incremental ingestion: only what is lacking is asked for, what changed is known, what came is never lost."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from backtester.resampling import aggregate
from blofin_resources.errors import MarketError
from blofin_resources.market import checks
from blofin_resources.market.fetching import (
    REVISION_SCHEMA,
    Interval,
    fetch_candles,
    fetch_funding,
    in_chunks,
    intervals_to_fetch,
    merged,
    revisions,
)
from blofin_resources.market.sample import SampleMarket
from features.bars import TS

START = datetime(2020, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SYMBOLS = ["BTC-USDT", "ETH-USDT"]
COVERAGE = {"symbol": pl.String(), "day": pl.Date(), "through": TS}


def _coverage(*rows: tuple[str, date, datetime]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=COVERAGE, orient="row")


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return SampleMarket(7).candles(SYMBOLS, "1m", START, START + timedelta(hours=6))


def test_nothing_stored_is_one_stretch_for_all() -> None:
    assert intervals_to_fetch(_coverage(), SYMBOLS, START, START + 365 * DAY) == [
        Interval(("BTC-USDT", "ETH-USDT"), START, START + 365 * DAY)
    ]


def test_only_what_is_lacking_is_asked_for_again() -> None:
    coverage = _coverage(
        ("BTC-USDT", date(2020, 4, 1), START + DAY),
        ("BTC-USDT", date(2020, 4, 2), START + DAY + timedelta(hours=7)),
        ("ETH-USDT", date(2020, 4, 2), START + 2 * DAY),
    )
    end = START + 3 * DAY
    assert intervals_to_fetch(coverage, SYMBOLS, START, end) == [
        Interval(("ETH-USDT",), START, START + DAY),
        Interval(("BTC-USDT",), START + DAY + timedelta(hours=7), end),
        Interval(("ETH-USDT",), START + 2 * DAY, end),
    ]
    again = intervals_to_fetch(coverage, ["BTC-USDT"], START, end, overlap=timedelta(hours=1))
    assert again == [Interval(("BTC-USDT",), START + DAY + timedelta(hours=6), end)]


@settings(max_examples=60)
@given(
    st.dictionaries(st.integers(0, 5), st.integers(0, 1440), max_size=6),
    st.integers(0, 6 * 1440),
    st.integers(0, 6 * 1440),
)
def test_stretches_are_exactly_the_minutes_not_covered(through: dict[int, int], one: int, other: int) -> None:
    start, end = (START + timedelta(minutes=minute) for minute in sorted((one, other)))
    rows = [("A", (START + day * DAY).date(), START + day * DAY + timedelta(minutes=m)) for day, m in through.items()]
    asked: list[datetime] = []
    for stretch in intervals_to_fetch(_coverage(*rows), ["A"], start, end):
        count = int((stretch.end - stretch.start) / timedelta(minutes=1))
        asked += [stretch.start + timedelta(minutes=minute) for minute in range(count)]
    moments = [start + timedelta(minutes=minute) for minute in range(int((end - start) / timedelta(minutes=1)))]
    expected = [
        moment
        for moment in moments
        if moment >= START + timedelta(days=(moment - START).days, minutes=through.get((moment - START).days, 0))
    ]
    assert asked == expected


def test_pieces_make_up_their_stretches_and_end_at_midnight() -> None:
    whole = Interval(("BTC-USDT",), START + timedelta(hours=5), START + 20 * DAY + timedelta(minutes=3))
    pieces = in_chunks([whole], days=7)
    assert [(piece.start, piece.end) for piece in pieces] == [
        (START + timedelta(hours=5), START + 7 * DAY),
        (START + 7 * DAY, START + 14 * DAY),
        (START + 14 * DAY, START + 20 * DAY + timedelta(minutes=3)),
    ]
    assert in_chunks([Interval(("A",), START, START)]) == []


def test_one_symbol_that_fails_does_not_cost_the_others() -> None:
    came = fetch_candles(SampleMarket(7), ["BTC-USDT", "NO-SUCH"], "1m", START, START + DAY)
    assert set(came.frame["symbol"]) == {"BTC-USDT"}
    assert list(came.failures) == ["NO-SUCH"]
    with pytest.raises(MarketError, match=r"^NO-SUCH: unknown symbol NO-SUCH"):
        came.require_all()
    paid = fetch_funding(SampleMarket(7), ["BTC-USDT", "NO-SUCH"], START, START + DAY)
    assert len(paid.frame) == 4
    assert list(paid.failures) == ["NO-SUCH"]


def test_what_came_is_what_one_request_gives(candles: pl.DataFrame) -> None:
    came = fetch_candles(SampleMarket(7), SYMBOLS, "1m", START, START + timedelta(hours=6))
    assert_frame_equal(came.require_all(), candles)


def test_changed_values_are_told_and_unchanged_ones_are_not(candles: pl.DataFrame) -> None:
    here = (pl.col("symbol") == "ETH-USDT") & (pl.col("ts") == START + timedelta(hours=1))
    old = candles.filter(here)
    fresh = candles.with_columns(
        close=pl.when(here).then(pl.col("low")).otherwise("close"),
        contracts=pl.when(here).then(None).otherwise("contracts"),
    )
    told = revisions(candles, fresh, START + DAY)
    assert told.schema == REVISION_SCHEMA
    assert told.rows() == [
        (
            "ETH-USDT",
            START + timedelta(hours=1),
            "close",
            str(old["close"].item()),
            str(old["low"].item()),
            START + DAY,
        ),
        ("ETH-USDT", START + timedelta(hours=1), "contracts", str(old["contracts"].item()), None, START + DAY),
    ]
    assert revisions(candles, candles, START + DAY).is_empty()
    assert revisions(candles.head(10), candles.tail(10), START + DAY).is_empty()


def test_the_fresh_bar_replaces_and_the_lost_one_stays(candles: pl.DataFrame) -> None:
    fresh = candles.gather_every(2).with_columns(close="low")
    stored = merged(candles, fresh)
    assert len(stored) == len(candles)
    assert_frame_equal(stored.join(fresh, on=["symbol", "ts"], how="semi"), fresh)
    kept = stored.join(fresh, on=["symbol", "ts"], how="anti")
    assert_frame_equal(kept, candles.join(fresh, on=["symbol", "ts"], how="anti"))


def test_staleness_is_per_symbol(candles: pl.DataFrame) -> None:
    cut = candles.filter((pl.col("symbol") == "BTC-USDT") | (pl.col("ts") < START + timedelta(hours=3)))
    late = checks.stale(cut, [*SYMBOLS, "SOL-USDT"], START + timedelta(hours=6), timedelta(minutes=30))
    assert late["symbol"].to_list() == ["ETH-USDT", "SOL-USDT"]
    assert late["ts"].to_list() == [START + timedelta(hours=2, minutes=59), None]
    assert late["detail"][1] == "no bar at all"
    assert checks.stale(candles, SYMBOLS, START + timedelta(hours=6), timedelta()).is_empty()


def test_longer_bars_that_disagree_are_named_with_their_columns(candles: pl.DataFrame) -> None:
    hours = aggregate(candles, "60m", START + timedelta(hours=6))
    assert checks.agreement(candles, hours, "60m").is_empty()
    spoilt = hours.with_columns(
        high=pl.when(pl.col("ts") == START).then(pl.col("high") + 1).otherwise("high"),
        volume=pl.when(pl.col("ts") == START).then(None).otherwise("volume"),
    ).filter((pl.col("symbol") == "BTC-USDT") | (pl.col("ts") != START + timedelta(hours=2)))
    wrong = checks.agreement(candles, spoilt, "60m")
    assert wrong["symbol"].to_list() == ["BTC-USDT", "ETH-USDT", "ETH-USDT"]
    assert wrong["detail"][0] == "differs from its shorter bars in: high, volume"
    assert "open, high" in wrong["detail"][2]


def test_staleness_is_per_day_too(candles: pl.DataFrame) -> None:
    end = START + timedelta(hours=6)
    cut = candles.filter((pl.col("symbol") == "BTC-USDT") | (pl.col("ts") < START + timedelta(hours=5)))
    late = checks.stale_days(cut, SYMBOLS, START, end, timedelta(minutes=30))
    assert late.select("symbol", "ts").rows() == [("ETH-USDT", START)]
    assert checks.stale_days(cut, SYMBOLS, START, end, timedelta(minutes=60)).is_empty()
    whole_day = checks.stale_days(cut, SYMBOLS, START, START + DAY, timedelta(minutes=60))
    assert whole_day["symbol"].to_list() == SYMBOLS
