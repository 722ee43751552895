"""Two strategies with the same positions are one, whatever their text says."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.validation.duplicates import Positions, find_duplicate, positions, resemblance

START = datetime(2025, 6, 1, tzinfo=UTC)
END = START + timedelta(days=1)


def trades(*rows: tuple[str, str, int, int], timeframe: str = "5m") -> pl.DataFrame:
    return pl.DataFrame(
        [
            (
                symbol, timeframe, side, START + timedelta(minutes=entry), START + timedelta(minutes=leave),
                2.0, 50.0, 100.0,
            )
            for symbol, side, entry, leave in rows
        ],
        schema={
            "symbol": pl.String,
            "timeframe": pl.String,
            "side": pl.String,
            "entry_ts": pl.Datetime("us", "UTC"),
            "exit_ts": pl.Datetime("us", "UTC"),
            "quantity": pl.Float64,
            "entry_price": pl.Float64,
            "equity": pl.Float64,
        },
        orient="row",
    )  # fmt: skip


ONE = trades(("A", "long", 10, 100), ("A", "short", 100, 200), ("B", "long", 0, 1440))


def test_positions_minute_by_minute() -> None:
    found = positions(ONE, START, END)
    assert set(found) == {("A", "5m"), ("B", "5m")}
    expected = np.zeros(1440)
    expected[10:100], expected[100:200] = 1, -1
    np.testing.assert_array_equal(found["A", "5m"].each_step(), expected)
    assert found["B", "5m"].each_step().all()


def test_resemblance() -> None:
    one = positions(ONE, START, END)
    mirrored = positions(ONE.with_columns(side=pl.lit("short")), START, END)
    late = positions(trades(("A", "long", 11, 101), ("A", "short", 101, 200), ("B", "long", 1, 1440)), START, END)
    elsewhere = positions(trades(("A", "long", 10, 100), timeframe="60m"), START, END)
    assert resemblance(one, one) == pytest.approx(1)
    assert resemblance(one, mirrored) < 0
    assert 0.99 < resemblance(one, late) < 1
    assert resemblance(one, elsewhere) < 0.5
    assert resemblance(one, {}) == 0
    always = positions(trades(("B", "long", 0, 1440)), START, END)
    assert resemblance(always, always) == 1


def test_the_nearest_is_named_and_a_new_one_is_free() -> None:
    one = positions(ONE, START, END)
    other = positions(trades(("A", "short", 500, 900)), START, END)
    assert find_duplicate(one, {"far": other, "same": one}) == ("same", pytest.approx(1))
    assert find_duplicate(one, {"far": other}) is None
    assert find_duplicate(one, {}) is None


def test_sizes_count_and_scale_does_not() -> None:
    one = positions(ONE, START, END)
    halved = positions(ONE.with_columns(quantity=pl.lit(1.0)), START, END)
    assert halved["A", "5m"].sizes.min() == -0.5
    assert resemblance(one, halved) == pytest.approx(1)
    unequal = positions(ONE.with_columns(quantity=pl.Series([0.2, 2.0, 4.0])), START, END)
    assert resemblance(one, unequal) < 0.95
    levered = positions(ONE.with_columns(equity=pl.Series([100.0, 50.0, 100.0])), START, END)
    assert resemblance(one, levered) < 0.99
    always = positions(trades(("B", "long", 0, 1440)), START, END)
    smaller = positions(trades(("B", "long", 0, 1440)).with_columns(quantity=pl.lit(0.5)), START, END)
    mirrored = positions(trades(("B", "short", 0, 1440)), START, END)
    assert resemblance(always, smaller) == 1
    assert resemblance(always, mirrored) == 0


def each_minute(frame: pl.DataFrame, start: datetime, end: datetime) -> dict[tuple[str, str], np.ndarray]:
    """Return the same positions by a plain loop, an element for each minute."""
    minutes = (end - start) // timedelta(minutes=1)
    held: dict[tuple[str, str], np.ndarray] = {}
    for row in frame.iter_rows(named=True):
        lane = held.setdefault((row["symbol"], row["timeframe"]), np.zeros(minutes))
        size = row["quantity"] * row["entry_price"] / row["equity"] * (1 if row["side"] == "long" else -1)
        for minute in range(minutes):
            at = start + timedelta(minutes=minute)
            lane[minute] += size if row["entry_ts"] <= at < row["exit_ts"] else 0.0
    return held


def plain_resemblance(one: dict[tuple[str, str], np.ndarray], other: dict[tuple[str, str], np.ndarray]) -> float:
    """Return the correlation of two such, of which the longer loses its first minutes."""
    if not one or not other:
        return 0.0
    shared = min(len(held) for side in (one, other) for held in side.values())
    lanes = sorted({*one, *other})
    a, b = (np.concatenate([side.get(lane, np.zeros(shared))[-shared:] for lane in lanes]) for side in (one, other))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float(np.ptp(a) == np.ptp(b) and np.sign(a[0]) == np.sign(b[0]))
    return float(np.corrcoef(a, b)[0, 1])


@st.composite
def some_trades(draw: st.DrawFn) -> pl.DataFrame:
    rows = []
    for symbol in draw(st.sets(st.sampled_from("ABC"))):
        edges = sorted(draw(st.lists(st.integers(-20, 130), max_size=9)))
        rows += [(symbol, draw(st.sampled_from(["long", "short"])), a, b) for a, b in pairwise(edges)]
    frame = trades(*rows)
    sizes = draw(st.lists(st.sampled_from([0.5, 2.0, 3.5]), min_size=len(rows), max_size=len(rows)))
    return frame.with_columns(quantity=pl.Series(sizes, dtype=pl.Float64))


@given(one=some_trades(), other=some_trades(), shorter=st.integers(0, 40))
def test_runs_say_what_every_minute_says(one: pl.DataFrame, other: pl.DataFrame, shorter: int) -> None:
    end = START + timedelta(minutes=120)
    later = START + timedelta(minutes=shorter)
    runs: list[Positions] = []
    plain = []
    for frame, start in ((one, START), (other, later)):
        runs.append(positions(frame, start, end))
        plain.append(each_minute(frame, start, end))
        assert runs[-1].keys() == plain[-1].keys()
        for lane, held in runs[-1].items():
            np.testing.assert_allclose(held.each_step(), plain[-1][lane], atol=1e-15)
    assert resemblance(*runs) == pytest.approx(plain_resemblance(*plain), abs=1e-9)
    assert resemblance(*runs) == pytest.approx(resemblance(*reversed(runs)), abs=1e-12)
