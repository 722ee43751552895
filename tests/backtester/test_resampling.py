import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester import Bars, Lane, Signals, aggregate, run_lanes
from features.bars import CANDLE_SCHEMA, DEFAULT_TIMEFRAMES, MINUTES, TIMEFRAMES, Timeframe

START = datetime(2025, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
EXACT = ("ts", "open", "high", "low", "close", "volume", "minutes", "flag")
"""Columns that a plain loop makes, too: whole numbers as volumes, so that no order of summing is seen."""


def minutes(count: int, symbol: str = "A-USDT", start: datetime = START) -> pl.DataFrame:
    k = pl.int_range(count, eager=True)
    price = 100.0 + (k * 7 % 13).cast(pl.Float64)
    return pl.DataFrame(
        {
            "symbol": [symbol] * count,
            "ts": pl.Series([start + timedelta(minutes=i) for i in range(count)]),
            "open": price,
            "high": price + 1.0,
            "low": price - 1.0,
            "close": price + 0.5,
            "volume": (k % 5).cast(pl.Float64),
            "quote_volume": price * 2.0,
            "contracts": pl.Series([1.0] * count),
            "minutes": pl.Series([1] * count),
            "origin": ["sample"] * count,
            "flag": pl.Series([None] * count, dtype=pl.String),
        }
    ).cast(CANDLE_SCHEMA)


def test_a_longer_bar_is_what_its_minutes_say() -> None:
    given_ = pl.concat([minutes(10), minutes(10, "B-USDT")])
    five = aggregate(given_, "5m")
    assert five.schema == CANDLE_SCHEMA
    assert five["symbol"].to_list() == ["A-USDT"] * 2 + ["B-USDT"] * 2
    first, inside = five.row(0, named=True), given_[:5]
    assert first["ts"] == START
    assert (first["open"], first["close"]) == (inside["open"][0], inside["close"][-1])
    assert (first["high"], first["low"]) == (inside["high"].max(), inside["low"].min())
    assert (first["volume"], first["quote_volume"]) == (inside["volume"].sum(), inside["quote_volume"].sum())
    assert (first["minutes"], first["origin"], first["flag"]) == (5, "sample", None)


def test_an_incomplete_bar_is_flagged_and_unknown_volume_stays_unknown() -> None:
    frame = minutes(15).with_columns(
        volume=pl.when(pl.int_range(pl.len()) == 7).then(None).otherwise("volume"),
        flag=pl.when(pl.int_range(pl.len()) == 11).then(pl.lit("single_price")),
    )
    five = aggregate(frame.filter(pl.int_range(pl.len()) != 2), "5m")
    assert five["minutes"].to_list() == [4, 5, 5]
    assert five["flag"].to_list() == ["incomplete", None, "incomplete"]
    assert five["volume"].is_null().to_list() == [False, True, False]


def silenced(frame: pl.DataFrame, rows: list[int]) -> pl.DataFrame:
    return frame.with_columns(flag=pl.when(pl.int_range(pl.len()).is_in(rows)).then(pl.lit("single_price")))


def test_a_few_silent_minutes_do_not_spoil_an_hour() -> None:
    frame = minutes(60 * 5)
    rows = [3, *(60 + k for k in range(10, 16)), *(120 + k for k in range(10, 17)), 180]
    hours = aggregate(silenced(frame, rows), "60m")
    assert hours["flag"].to_list() == [None, None, "incomplete", "incomplete", None], "one, six, seven, the first one"
    other = silenced(frame, rows).with_columns(
        flag=pl.when(pl.int_range(pl.len()) == 250).then(pl.lit("repaired")).otherwise("flag")
    )
    assert aggregate(other, "60m")["flag"].to_list()[-1] == "incomplete"
    both = silenced(frame, []).with_columns(flag=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("x,single_price")))
    assert aggregate(both, "60m")["flag"].to_list()[0] == "incomplete"
    assert aggregate(silenced(frame, [7]), "5m")["flag"].to_list().count("incomplete") == 1, "a fifth of the bar"
    assert aggregate(frame.filter(pl.int_range(pl.len()) != 30), "60m")["flag"].to_list()[0] == "incomplete"


def test_two_percent_silent_minutes_leave_nearly_all_hours() -> None:
    """By the rule of before, one silent minute spoiled its hour: 0.98 ** 60, 30 % of the hours, were left."""
    count = 60 * 24 * 30
    silent = np.flatnonzero(np.random.default_rng(1).random(count) < 0.02).tolist()
    hours = aggregate(silenced(minutes(count), silent), "60m")
    bars = Bars.from_frame(hours, "60m", start=START, end=START + 30 * DAY)
    (result,) = run_lanes([Lane(bars, Signals(np.zeros(len(bars), dtype=np.uint8)))])
    assert result.coverage == hours["flag"].null_count() / (24 * 30)
    assert 0.96 < result.coverage < 1.0, "the share of hours that do not open with one"


def test_a_period_that_has_not_ended_is_left_out() -> None:
    assert aggregate(minutes(14), "5m").height == 2
    assert aggregate(minutes(15), "5m", as_of=START + timedelta(minutes=14)).height == 2
    early = aggregate(minutes(15), "5m", as_of=START + timedelta(minutes=10))
    assert early["ts"].max() == START + timedelta(minutes=5)
    late = aggregate(minutes(14), "5m", as_of=START + timedelta(minutes=15))
    assert late["flag"].to_list() == [None, None, "incomplete"]


def test_nothing_from_nothing() -> None:
    assert aggregate(minutes(0), "60m").schema == CANDLE_SCHEMA


def by_a_loop(frame: pl.DataFrame, timeframe: Timeframe, now: datetime) -> list[dict[str, Any]]:
    """Longer bars of one symbol the plain way, from bars of one length."""
    own, length, found = timedelta(minutes=frame["minutes"].max()), timedelta(minutes=MINUTES[timeframe]), []  # type: ignore[arg-type]
    parts: dict[datetime, list[dict[str, Any]]] = {}
    for row in frame.iter_rows(named=True):
        if row["ts"] + own <= now:
            parts.setdefault(START + (row["ts"] - START) // length * length, []).append(row)
    for start, inside in parts.items():
        if start + length <= now:
            silent = sum(row["minutes"] for row in inside if row["flag"] == "single_price")
            spoiled = (
                any(row["flag"] not in {None, "single_price"} for row in inside)
                or inside[0]["flag"] is not None
                or silent > 0.1 * MINUTES[timeframe]
                or sum(row["minutes"] for row in inside) < MINUTES[timeframe]
            )
            volumes = [row["volume"] for row in inside]
            found.append(
                {
                    "ts": start,
                    "open": inside[0]["open"],
                    "high": max(row["high"] for row in inside),
                    "low": min(row["low"] for row in inside),
                    "close": inside[-1]["close"],
                    "volume": None if None in volumes else sum(volumes),
                    "minutes": sum(row["minutes"] for row in inside),
                    "flag": "incomplete" if spoiled else None,
                }
            )
    return found


@settings(max_examples=5)
@given(st.integers(0, 2**16), st.integers(1440, 4000))
def test_every_timeframe_is_what_a_plain_loop_makes_of_each_shorter_one(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    price = 100 + rng.random(count)
    flags = np.where(rng.random(count) < 0.08, np.where(rng.random(count) < 0.99, "single_price", "repaired"), "")
    frame = (
        minutes(count)
        .with_columns(
            open=pl.Series(price),
            close=pl.Series(price[::-1]),
            high=pl.Series(102 + rng.random(count)),
            low=pl.Series(99 - rng.random(count)),
            volume=pl.when(pl.Series(rng.random(count) > 0.001)).then("volume"),
            flag=pl.when(pl.Series(flags) != "").then(pl.Series(flags)),
        )
        .filter(pl.Series(rng.random(count) > 0.001))
    )
    now = START + timedelta(minutes=count)
    for base in TIMEFRAMES:
        shorter = frame if base == "1m" else aggregate(frame, base, now)
        for timeframe in TIMEFRAMES[TIMEFRAMES.index(base) + 1 :]:
            if shorter.height and shorter["minutes"].max() == MINUTES[base]:
                expected = by_a_loop(shorter, timeframe, now)
                assert aggregate(shorter, timeframe, now).select(*EXACT).to_dicts() == expected, (base, timeframe)


def test_timeframes_nest_in_each_other_and_in_a_day() -> None:
    lengths = [MINUTES[timeframe] for timeframe in TIMEFRAMES]
    assert all(longer % shorter == 0 for shorter, longer in itertools.pairwise(lengths))
    assert set(MINUTES) == set(TIMEFRAMES) > set(DEFAULT_TIMEFRAMES)
    assert aggregate(minutes(1440 * 2), "4h")["ts"].dt.hour().unique().to_list() == [0, 4, 8, 12, 16, 20]


@settings(max_examples=25)
@given(st.integers(0, 2**16), st.integers(1, 4000))
def test_in_one_step_or_in_two(seed: int, count: int) -> None:
    kept = pl.int_range(pl.len()).shuffle(seed) > 3
    frame = minutes(count).filter(kept)
    if frame.is_empty():
        return
    now = START + timedelta(minutes=count)
    for target in TIMEFRAMES[2:]:
        direct = aggregate(frame, target, now)
        assert direct.equals(aggregate(aggregate(frame, "5m", now), target, now).filter(True))


def test_real_candles_keep_their_volume(real_market: Path) -> None:
    raw = pl.read_parquet(real_market / "BTC-USDT_1m.parquet").head(1440 * 3)
    frame = (
        raw.with_columns(
            symbol=pl.lit("BTC-USDT"), quote_volume=None, contracts=None, minutes=1, origin=pl.lit("archive"), flag=None
        )
        .select(CANDLE_SCHEMA.names())
        .cast(CANDLE_SCHEMA)
    )
    for timeframe in TIMEFRAMES[1:]:
        longer = aggregate(frame, timeframe)
        assert longer.height == 1440 * 3 // MINUTES[timeframe]
        assert longer["volume"].sum() == pytest.approx(raw["volume"].sum())
        assert longer["flag"].is_null().all()
        assert longer["high"].max() == raw["high"].max()


def test_a_bar_is_the_same_to_the_last_bit_whatever_else_is_aggregated_beside_it() -> None:
    rng = np.random.default_rng(3)
    minutes = pl.datetime_range(START, START + timedelta(days=5), "1m", closed="left", eager=True)
    frames = [
        pl.DataFrame({"ts": minutes, "volume": rng.random(minutes.len()) * 1e3}).with_columns(
            *(pl.lit(100.0).alias(name) for name in ("open", "high", "low", "close")),
            symbol=pl.lit(f"S{number:02}-USDT"),
            quote_volume=pl.col("volume") * 100.0,
            contracts=pl.col("volume") * 1_000.0,
            minutes=1,
            origin=pl.lit("sample"),
            flag=pl.lit(None, pl.String),
        )
        for number in range(20)
    ]
    everything = pl.concat(frames).select(CANDLE_SCHEMA.names()).cast(dict(CANDLE_SCHEMA))
    for timeframe in TIMEFRAMES[1:]:
        whole = aggregate(everything, timeframe)
        for day in (0, 3):
            start = START + timedelta(days=day)
            own = (pl.col("symbol") == "S07-USDT") & pl.col("ts").is_between(start, start + DAY, "left")
            assert aggregate(everything.filter(own), timeframe).equals(whole.filter(own)), timeframe
