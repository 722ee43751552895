from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester import aggregate
from features.bars import CANDLE_SCHEMA, MINUTES, Timeframe

START = datetime(2025, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


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


def test_a_period_that_has_not_ended_is_left_out() -> None:
    assert aggregate(minutes(14), "5m").height == 2
    assert aggregate(minutes(15), "5m", as_of=START + timedelta(minutes=14)).height == 2
    early = aggregate(minutes(15), "5m", as_of=START + timedelta(minutes=10))
    assert early["ts"].max() == START + timedelta(minutes=5)
    late = aggregate(minutes(14), "5m", as_of=START + timedelta(minutes=15))
    assert late["flag"].to_list() == [None, None, "incomplete"]


def test_nothing_from_nothing() -> None:
    assert aggregate(minutes(0), "60m").schema == CANDLE_SCHEMA


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 4000))
def test_in_one_step_or_in_two(seed: int, count: int) -> None:
    kept = pl.int_range(pl.len()).shuffle(seed) > 3
    frame = minutes(count).filter(kept)
    if frame.is_empty():
        return
    now = START + timedelta(minutes=count)
    for target in ("60m", "1d"):
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
    timeframe: Timeframe
    for timeframe in ("5m", "60m", "1d"):
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
    timeframes: tuple[Timeframe, ...] = ("5m", "60m", "1d")
    for timeframe in timeframes:
        whole = aggregate(everything, timeframe)
        for day in (0, 3):
            start = START + timedelta(days=day)
            own = (pl.col("symbol") == "S07-USDT") & pl.col("ts").is_between(start, start + DAY, "left")
            assert aggregate(everything.filter(own), timeframe).equals(whole.filter(own)), timeframe
