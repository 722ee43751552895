"""Two strategies with the same positions are one, whatever their text says."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from strategies.validation.duplicates import find_duplicate, positions, resemblance

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
    np.testing.assert_array_equal(found["A", "5m"], expected)
    assert found["B", "5m"].all()


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
    assert halved["A", "5m"].min() == -0.5
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
