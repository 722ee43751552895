"""Steps of prices: found whatever lies between two bars, and what moves by less is none."""

import math
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from features.steps import FACTOR, Step, find_steps

START = datetime(2025, 6, 1, tzinfo=UTC)
RETURNS = st.floats(-8.0, 8.0)


@given(st.lists(st.tuples(RETURNS, RETURNS, st.integers(1, 3000)), min_size=1, max_size=30))
def test_steps_are_where_a_plain_loop_finds_them(moves: list[tuple[float, float, int]]) -> None:
    rows, close, moment = [], 1.0, START
    for between, inside, minutes in moves:
        moment += timedelta(minutes=minutes)
        first = close * math.exp(between)
        rows.append(("A-USDT", moment, first, close := first * math.exp(inside)))
    expected, last = [], None
    for _, ts, first, end in rows:
        ratios = [first / last[1]] if last else []
        ratios.append(end / first)
        far = [ratio for ratio in ratios if ratio >= FACTOR or ratio <= 1 / FACTOR]
        if far:
            expected.append((ts, far[0], last[0] if last else ts))
        last = (ts, end)
    frame = pl.DataFrame(rows, schema=["symbol", "ts", "open", "close"], orient="row")
    other = frame.with_columns(symbol=pl.lit("B-USDT"), open=pl.lit(1e6), close=pl.lit(1e6))
    found = find_steps(pl.concat([frame, other]))
    assert set(found["symbol"]) <= {"A-USDT"}
    assert found.select("ts", "ratio", "before_ts").rows() == expected


def test_a_step_is_told_by_symbol_time_and_ratio() -> None:
    assert str(Step("A-USDT", START, 1000.0)) == "A-USDT steps by 1,000 : 1 at 2025-06-01T00:00Z"
    assert str(Step("A-USDT", START, 0.01)) == "A-USDT steps by 1 : 100 at 2025-06-01T00:00Z"
