"""The universe of a day: what a plain loop over the closed days says, whatever comes later."""

from datetime import UTC, date, datetime, timedelta
from statistics import median

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from blofin_resources.market.source import LISTING_SCHEMA
from blofin_resources.market.universe import WINDOW, Rule, listed_since, membership, parse_rule
from features.bars import TS

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = 75
SYMBOLS = ["AA-USDT", "BB-USDT", "CC-USDT", "DD-USDT", "EE-USDT"]

Volumes = dict[str, dict[int, float]]


def plain(volumes: Volumes, listed: dict[str, datetime], rule: Rule, day: int) -> list[tuple[object, ...]]:
    """Return the rows of one day by a loop over symbols."""
    now = START + day * DAY
    traded = [d for held in volumes.values() for d in held if day - WINDOW <= d < day]
    rows, eligible = [], []
    for symbol, held in volumes.items():
        window = [held.get(d) for d in range(day - WINDOW, day)]
        if all(volume is None for volume in window):
            continue
        if max(traded) not in held:
            rows.append((symbol, None, False, "not_traded", None))
        elif listed[symbol] > now - WINDOW * DAY:
            rows.append((symbol, None, False, "too_new", None))
        else:
            eligible.append((-median(volume or 0.0 for volume in window), symbol))
    for place, (volume, symbol) in enumerate(sorted(eligible), start=1):
        if rule.chosen:
            member, reason = symbol in rule.chosen, "chosen_today" if symbol in rule.chosen else "not_chosen"
        elif rule.top is None:
            member, reason = True, "all"
        else:
            member, reason = place <= rule.top, "top" if place <= rule.top else "below_top"
        rows.append((symbol, place, member, reason, -volume))
    return sorted(rows)


def frame(volumes: Volumes) -> pl.DataFrame:
    rows = [(s, START + d * DAY, v) for s, held in volumes.items() for d, v in held.items()]
    return pl.DataFrame(rows, schema={"symbol": pl.String(), "ts": TS, "quote_volume": pl.Float64()}, orient="row")


def since(volumes: Volumes, late: dict[str, int]) -> dict[str, datetime]:
    return {s: START + min(held) * DAY + timedelta(hours=late.get(s, 0)) for s, held in volumes.items() if held}


def begun(listed: dict[str, datetime]) -> pl.DataFrame:
    return pl.DataFrame(
        list(listed.items()), schema={"symbol": pl.String(), "listed": TS}, orient="row"
    )  # fmt: skip


@st.composite
def markets(draw: st.DrawFn) -> Volumes:
    """Symbols that are listed, halted, delisted and relisted; volumes that are often equal; days that all lack."""
    silent = draw(st.sets(st.integers(0, DAYS), max_size=4))
    volumes = {}
    for symbol in SYMBOLS:
        first, last = sorted(draw(st.tuples(st.integers(0, 50), st.integers(0, DAYS))))
        absent = draw(st.sets(st.integers(0, DAYS), max_size=12)) | silent
        levels = draw(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=3, max_size=7))
        volumes[symbol] = {d: levels[d % len(levels)] for d in range(first, last + 1) if d not in absent}
    return {symbol: held for symbol, held in volumes.items() if held}


RULES = st.sampled_from([Rule(1), Rule(2), Rule(4), Rule(None), Rule(None, ("BB-USDT", "CC-USDT"))])


@settings(max_examples=25)
@given(volumes=markets(), rule=RULES, late=st.dictionaries(st.sampled_from(SYMBOLS), st.integers(0, 23)))
def test_each_day_is_what_a_plain_loop_says(volumes: Volumes, rule: Rule, late: dict[str, int]) -> None:
    if not volumes:
        return
    listed = since(volumes, late)
    found = membership(frame(volumes), begun(listed), rule, day_of(1), day_of(DAYS))
    for day in range(1, DAYS + 1):
        rows = found.filter(pl.col("day") == day_of(day)).drop("day")
        assert rows.rows() == plain(volumes, listed, rule, day), day


@settings(max_examples=25)
@given(volumes=markets(), rule=RULES, cut=st.integers(1, DAYS), other=st.lists(st.floats(0.0, 9.0), min_size=1))
def test_a_day_is_the_same_whatever_comes_later(volumes: Volumes, rule: Rule, cut: int, other: list[float]) -> None:
    listed = begun(since(volumes, {}))
    whole = membership(frame(volumes), listed, rule, day_of(1), day_of(DAYS))
    short = {symbol: {d: v for d, v in held.items() if d < cut} for symbol, held in volumes.items()}
    noise = {
        symbol: held | {d: other[d % len(other)] for d in range(cut, DAYS)} for symbol, held in short.items() if held
    }
    upto = whole.filter(pl.col("day") <= day_of(cut))
    for changed in (short, noise):
        assert_frame_equal(membership(frame(changed), listed, rule, day_of(1), day_of(cut)), upto)


@settings(max_examples=25)
@given(volumes=markets(), rule=RULES, length=st.integers(1, 40))
def test_days_decided_in_chunks_are_those_decided_at_once(volumes: Volumes, rule: Rule, length: int) -> None:
    listed = begun(since(volumes, {}))
    whole = membership(frame(volumes), listed, rule, day_of(1), day_of(DAYS))
    parts = [
        membership(frame(volumes), listed, rule, day_of(first), day_of(min(first + length - 1, DAYS)))
        for first in range(1, DAYS + 1, length)
    ]
    assert_frame_equal(pl.concat(parts), whole)


def day_of(day: int) -> date:
    return (START + day * DAY).date()


def test_a_delisted_symbol_is_a_member_for_as_long_as_it_traded() -> None:
    volumes = {"AA-USDT": dict.fromkeys(range(75), 1.0), "BB-USDT": dict.fromkeys(range(50), 9.0)}
    found = membership(frame(volumes), begun(since(volumes, {})), Rule(1), day_of(1), day_of(DAYS))
    member = found.filter("member").select("day", "symbol").rows()
    assert member == [(day_of(d), "BB-USDT" if d <= 50 else "AA-USDT") for d in range(30, 76)]
    ended = found.filter(pl.col("symbol") == "BB-USDT", pl.col("reason") == "not_traded")["day"]
    assert (ended.min(), ended.max()) == (day_of(51), day_of(79 if DAYS > 78 else DAYS))


def test_listing_times_count_where_the_first_bar_holds_them() -> None:
    times = [START + timedelta(hours=15), START - 400 * DAY, START + 40 * DAY, None]
    listings = pl.DataFrame(
        {"symbol": SYMBOLS[:4], "list_time": times, "delist_time": None, "state": "live"}, schema=LISTING_SCHEMA
    )
    first = pl.DataFrame({"symbol": SYMBOLS[:4], "first": START}, schema={"symbol": pl.String(), "first": TS})
    assert listed_since(listings, first)["listed"].to_list() == [times[0], START, START, START]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("top:30", Rule(30)), (" TOP:5 ", Rule(5)), ("all", Rule(None)), ("off", None),
        ("btc-usdt, ETH-USDT,BTC-USDT", Rule(None, ("BTC-USDT", "ETH-USDT"))),
    ],
)  # fmt: skip
def test_rules_are_read(text: str, rule: Rule | None) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize("text", ["", "top", "top:0", "top:-3", "top:30.5", "BTCUSDT", "BTC-USDT,top:3", ","])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither top:N"):
        parse_rule(text)
