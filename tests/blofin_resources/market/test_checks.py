"""Each check finds the fault that it is for, and that one only."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from blofin_resources.market import checks
from blofin_resources.market.sample import SampleMarket
from features.bars import TS

START = datetime(2020, 5, 1, tzinfo=UTC)
END = START + timedelta(days=2)
SYMBOLS = ["BTC-USDT", "ETH-USDT"]
SPOT = START + timedelta(hours=5, minutes=7)
HERE = (pl.col("symbol") == "ETH-USDT") & (pl.col("ts") == SPOT)
Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return SampleMarket(7).candles(SYMBOLS, "1m", START, END)


def _set(column: str, value: pl.Expr | float | None) -> Change:
    return lambda frame: frame.with_columns(pl.when(HERE).then(value).otherwise(column).alias(column))


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    close = [pl.when(HERE).then("close").otherwise(name).alias(name) for name in checks.PRICES]
    none = [pl.when(HERE).then(None).otherwise(name).alias(name) for name in checks.VOLUMES]
    return frame.with_columns(*close, *none)


def _spike(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.when(HERE).then(pl.col(name) * 1.1).otherwise(name).alias(name) for name in checks.PRICES
    )


def _swap(frame: pl.DataFrame) -> pl.DataFrame:
    at = frame.with_row_index().filter(HERE)["index"].item()
    order = list(range(len(frame)))
    order[at], order[at - 1] = order[at - 1], order[at]
    return frame[order]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda frame: frame, set()),
        (_set("high", pl.col("low") * 0.999), {"ohlc_order"}),
        (_set("low", pl.col("high") * 1.001), {"ohlc_order"}),
        (_set("open", None), {"positive_prices"}),
        (_set("low", 0.0), {"positive_prices"}),
        (_set("low", float("nan")), {"positive_prices"}),
        (_set("high", float("inf")), {"positive_prices"}),
        (_set("volume", -1.0), {"sound_volumes"}),
        (_set("quote_volume", float("nan")), {"sound_volumes"}),
        (_set("contracts", None), set()),
        (lambda frame: pl.concat([frame, frame.filter(HERE)]).sort("symbol", "ts"), {"duplicates"}),
        (_set("ts", pl.col("ts") + timedelta(seconds=20)), {"on_grid"}),
        (_set("minutes", pl.lit(0, pl.Int32)), {"minutes_inside"}),
        (lambda frame: frame.filter(~HERE), {"incomplete_days"}),
        (lambda frame: frame.filter(pl.col("symbol") == "BTC-USDT"), {"incomplete_days"}),
        (_flat, {"single_prices"}),
        (_spike, {"jumps"}),
    ],
)
def test_each_fault_is_found_by_its_own_check(candles: pl.DataFrame, change: Change, found: set[str]) -> None:
    changed = change(candles)
    violations = checks.unsound(changed, "1m") | {
        name: frame
        for name, frame in {
            "jumps": checks.jumps(changed),
            "incomplete_days": checks.incomplete_days(changed, "1m", START, END, SYMBOLS),
        }.items()
        if not frame.is_empty()
    }
    # A bar off the grid is also a bar missing from it.
    assert set(violations) - {"incomplete_days"} == found - {"incomplete_days"}
    assert "incomplete_days" not in found or "incomplete_days" in violations
    for frame in violations.values():
        assert frame.schema == checks.VIOLATION_SCHEMA
        assert set(frame["symbol"]) == {"ETH-USDT"}


def test_rows_out_of_order_are_found_at_the_late_one(candles: pl.DataFrame) -> None:
    late = checks.time_order(_swap(candles))
    assert late["ts"].to_list() == [SPOT - timedelta(minutes=1)]
    assert checks.time_order(candles).is_empty()


def test_single_price_bars_are_flagged_once_and_keep_other_flags(candles: pl.DataFrame) -> None:
    flat = _flat(candles)
    flagged = checks.flag_single_price(flat)
    assert flagged.filter(HERE)["flag"].to_list() == ["single_price"]
    assert flagged.filter(~HERE)["flag"].null_count() == len(candles) - 1
    assert_frame_equal(checks.flag_single_price(flagged), flagged)
    repaired = checks.flag_single_price(flat.with_columns(flag=pl.lit("repaired")))
    assert repaired.filter(HERE)["flag"].item() == "repaired,single_price"


def test_a_real_move_is_no_jump(candles: pl.DataFrame) -> None:
    moved = candles.with_columns(
        pl.when(pl.col("ts") >= SPOT).then(pl.col(name) * 1.1).otherwise(name).alias(name) for name in checks.PRICES
    )
    assert checks.jumps(moved).is_empty()


def test_a_day_under_way_may_be_incomplete(candles: pl.DataFrame) -> None:
    now = START + timedelta(days=1, hours=3)
    seen = candles.filter(pl.col("ts") < now - timedelta(minutes=30))
    assert checks.incomplete_days(seen, "1m", START, now, SYMBOLS).is_empty()
    assert checks.missing(seen, "1m", START, now, SYMBOLS)["bars"].to_list() == [30, 30]


@settings(max_examples=60)
@given(st.sets(st.integers(0, 47)), st.integers(0, 47), st.integers(0, 47))
def test_the_missing_are_exactly_those_absent(present: set[int], one: int, other: int) -> None:
    start, end = (START + timedelta(minutes=5 * step) for step in sorted((one, other)))
    times = [START + timedelta(minutes=5 * step) for step in sorted(present)]
    frame = pl.DataFrame({"symbol": ["A"] * len(times), "ts": times}, schema={"symbol": pl.String, "ts": TS})
    gaps = checks.missing(frame, "5m", start, end, ["A"])
    expected = {start + timedelta(minutes=5 * k) for k in range(int((end - start) / timedelta(minutes=5)))} - set(times)
    listed = [
        row["from_ts"] + timedelta(minutes=5 * k) for row in gaps.iter_rows(named=True) for k in range(row["bars"])
    ]
    assert len(listed) == len(set(listed))
    assert set(listed) == expected
    assert (gaps["from_ts"] + gaps["bars"] * timedelta(minutes=5)).to_list() == gaps["to_ts"].to_list()
    assert not set(gaps["to_ts"].to_list()) - {end, *times}
