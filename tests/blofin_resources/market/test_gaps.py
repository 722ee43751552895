"""The ledger of gaps: each lacking minute is in it once, under its cause, until the source fills it."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from blofin_resources.market.gaps import GAP_SCHEMA, find_gaps, update_ledger
from blofin_resources.market.sample import SampleMarket

START = datetime(2020, 4, 1, tzinfo=UTC)
END = START + timedelta(days=2)
SYMBOLS = ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
MINUTE = timedelta(minutes=1)


def _at(day: int, hour: int, minute: int = 0) -> datetime:
    return START + timedelta(days=day - 1, hours=hour, minutes=minute)


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return SampleMarket(7).candles(SYMBOLS, "1m", START, END)


def _without(candles: pl.DataFrame, start: datetime, end: datetime, *symbols: str) -> pl.DataFrame:
    lost = pl.col("ts").is_between(start, end, closed="left") & pl.col("symbol").is_in(symbols or SYMBOLS)
    return candles.filter(~lost)


def _rows(gaps: pl.DataFrame) -> list[tuple[object, ...]]:
    return gaps.select("symbol", "from_ts", "to_ts", "bars", "kind").rows()


def test_whole_data_has_no_gaps(candles: pl.DataFrame) -> None:
    gaps = find_gaps(candles, SYMBOLS, START, END, found_at=END)
    assert gaps.is_empty()
    assert gaps.schema == GAP_SCHEMA


def test_each_gap_has_its_cause(candles: pl.DataFrame) -> None:
    lossy = _without(candles, _at(1, 5), _at(1, 7))
    lossy = _without(lossy, _at(1, 12), _at(1, 12, 3), "ETH-USDT")
    lossy = _without(lossy, START, _at(1, 2), "SOL-USDT")
    lossy = _without(lossy, _at(2, 20), END, "ETH-USDT")
    flat = (pl.col("symbol") == "BTC-USDT") & pl.col("ts").is_between(_at(1, 9), _at(1, 9, 4))
    lossy = lossy.with_columns(flag=pl.when(flat).then(pl.lit("single_price")).otherwise("flag"))
    gaps = find_gaps(
        lossy,
        SYMBOLS,
        START,
        END,
        found_at=END,
        listed={"SOL-USDT": _at(1, 2)},
        delisted={"ETH-USDT": _at(2, 20)},
    )
    assert _rows(gaps) == [
        ("BTC-USDT", _at(1, 5), _at(1, 7), 120, "outage"),
        ("BTC-USDT", _at(1, 9), _at(1, 9, 5), 5, "single_price"),
        ("ETH-USDT", _at(1, 5), _at(1, 7), 120, "outage"),
        ("ETH-USDT", _at(1, 12), _at(1, 12, 3), 3, "source_hole"),
        ("ETH-USDT", _at(2, 20), END, 240, "delisted"),
        ("SOL-USDT", START, _at(1, 2), 120, "not_yet_listed"),
        ("SOL-USDT", _at(1, 5), _at(1, 7), 120, "outage"),
    ]


def test_an_outage_is_one_of_all_who_traded_then(candles: pl.DataFrame) -> None:
    lossy = _without(_without(candles, START, _at(1, 6), "SOL-USDT"), _at(1, 3), _at(1, 4))
    known = find_gaps(lossy, SYMBOLS, START, END, found_at=END, listed={"SOL-USDT": _at(1, 6)})
    assert known["kind"].to_list() == ["outage", "outage", "not_yet_listed"]
    alone = find_gaps(_without(candles, _at(1, 3), _at(1, 4)), ["BTC-USDT"], START, END, found_at=END)
    assert alone["kind"].to_list() == ["source_hole"]


def test_gaps_are_cut_at_midnight_so_days_and_ranges_agree(candles: pl.DataFrame) -> None:
    lossy = _without(candles, _at(1, 22), _at(2, 3), "ETH-USDT")
    whole = find_gaps(lossy, SYMBOLS, START, END, found_at=END)
    days = [
        find_gaps(
            lossy.filter(pl.col("ts").is_between(day, day + timedelta(days=1), closed="left")),
            SYMBOLS,
            day,
            day + timedelta(days=1),
            found_at=END,
        )
        for day in (START, START + timedelta(days=1))
    ]
    assert_frame_equal(pl.concat(days).sort("symbol", "from_ts"), whole)
    assert whole["bars"].to_list() == [120, 180]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2879), st.integers(1, 300), st.sampled_from(SYMBOLS)), max_size=8))
def test_every_lacking_minute_is_in_the_ledger_once(candles: pl.DataFrame, losses: list[tuple[int, int, str]]) -> None:
    lossy = candles
    for first, length, symbol in losses:
        lossy = _without(lossy, START + first * MINUTE, START + (first + length) * MINUTE, symbol)
    gaps = find_gaps(lossy, SYMBOLS, START, END, found_at=END)
    listed = gaps.with_columns(ts=pl.datetime_ranges("from_ts", pl.col("to_ts") - MINUTE, interval="1m")).explode("ts")
    lacking = candles.join(lossy, on=["symbol", "ts"], how="anti").select("symbol", "ts").sort("symbol", "ts")
    assert_frame_equal(listed.select("symbol", "ts").sort("symbol", "ts"), lacking)
    assert int(gaps["bars"].sum()) == len(lacking)


def test_a_gap_keeps_its_first_sight_and_is_closed_when_filled(candles: pl.DataFrame) -> None:
    first, second, third = (END + timedelta(hours=hours) for hours in (0, 1, 2))
    lossy = _without(candles, _at(1, 5), _at(1, 7), "ETH-USDT")
    less = _without(candles, _at(1, 5), _at(1, 6), "ETH-USDT")
    ledger = pl.DataFrame(schema=GAP_SCHEMA)
    seen = []
    for frame, now in ((lossy, first), (less, second), (candles, third), (candles, third + timedelta(hours=1))):
        found = find_gaps(frame, SYMBOLS, START, END, found_at=now)
        ledger = update_ledger(ledger, found, SYMBOLS, START, END, now)
        seen.append(ledger.select("bars", "found_at", "closed_at").rows())
    assert seen == [[(120, first, None)], [(60, first, None)], [(60, first, third)], [(60, first, third)]]
    again = update_ledger(ledger, find_gaps(lossy, SYMBOLS, START, END, found_at=third), SYMBOLS, START, END, third)
    assert again.select("bars", "found_at", "closed_at").rows() == [(120, third, None)]


def test_other_symbols_and_days_of_the_ledger_are_left_alone(candles: pl.DataFrame) -> None:
    lossy = _without(candles, _at(1, 5), _at(1, 7))
    ledger = find_gaps(lossy, SYMBOLS, START, END, found_at=END)
    found = find_gaps(candles, ["BTC-USDT"], START, END, found_at=END)
    updated = update_ledger(ledger, found, ["BTC-USDT"], START, END, END)
    assert updated["symbol"].to_list() == ["BTC-USDT"]
    assert update_ledger(ledger, found, SYMBOLS, START + timedelta(days=1), END, END).is_empty()


def test_the_cause_of_a_gap_over_midnight_is_that_of_each_day(candles: pl.DataFrame) -> None:
    lossy = _without(candles, _at(1, 22), _at(2, 6), "ETH-USDT")
    lossy = _without(_without(lossy, _at(1, 22), _at(2, 0), "BTC-USDT"), _at(1, 22), _at(2, 0), "SOL-USDT")
    gaps = find_gaps(lossy, SYMBOLS, START, END, found_at=END)
    assert gaps["kind"].to_list() == ["outage", "outage", "source_hole", "outage"]


def test_an_earlier_look_takes_nothing_back(candles: pl.DataFrame) -> None:
    lossy = _without(candles, _at(1, 5), _at(1, 7), "ETH-USDT")
    late = find_gaps(lossy, SYMBOLS, START, END, found_at=END + timedelta(hours=5))
    again = update_ledger(late, find_gaps(lossy, SYMBOLS, START, END, found_at=END), SYMBOLS, START, END, END)
    assert_frame_equal(again, late)
    closed = update_ledger(late, late.clear(), SYMBOLS, START, END, END)
    assert closed["closed_at"].to_list() == [END + timedelta(hours=5)]


def test_longer_bars_are_expected_whole_between_listing_and_delisting() -> None:
    hours = SampleMarket(7).candles(["BTC-USDT"], "60m", _at(1, 7), _at(1, 9))
    gaps = find_gaps(
        hours, ["BTC-USDT"], START, _at(1, 12, 20), found_at=END, timeframe="60m",
        listed={"BTC-USDT": _at(1, 5, 30)}, delisted={"BTC-USDT": _at(1, 10, 40)},
    )  # fmt: skip
    assert _rows(gaps) == [
        ("BTC-USDT", START, _at(1, 6), 6, "not_yet_listed"),
        ("BTC-USDT", _at(1, 6), _at(1, 7), 1, "source_hole"),
        ("BTC-USDT", _at(1, 9), _at(1, 10), 1, "source_hole"),
        ("BTC-USDT", _at(1, 10), _at(1, 12), 2, "delisted"),
    ]
