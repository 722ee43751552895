"""The words of the language mean what they say, look back only, and refuse what has no meaning."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.language.columns import Program, Truth, column_of
from strategies.language.strategy import Features, Signal, Strategy
from strategies.language.values import (
    MAX_NODES,
    LanguageError,
    Value,
    between,
    change,
    crossed_above,
    crossed_below,
    falling,
    feature_value,
    happened,
    held,
    highest,
    lowest,
    maximum,
    mean,
    minimum,
    previous,
    rising,
    stdev,
    where,
    zscore,
)

X = feature_value("x", "number")
Y = feature_value("y", "number")
B = X > 0


def evaluate(value: Value, **columns: list[float | None]) -> list[object]:
    given = {name: column_of(pl.Series(name, column, pl.Float64)) for name, column in columns.items()}
    (found,) = Program([value]).run(given, len(next(iter(given.values()))))
    if isinstance(found, Truth):
        return [True if yes else False if no else None for yes, no in zip(found.yes, found.no, strict=True)]
    return [None if math.isnan(number) else number for number in found.tolist()]


def test_crossings_need_a_known_bar_before() -> None:
    assert evaluate(crossed_above(X, 0), x=[1, -1, 1, 2, None, 3, -1]) == [None, False, True, False, False, None, False]
    assert evaluate(crossed_below(X, 0), x=[1, -1, -2, 1, 0, -1]) == [False, True, False, False, False, True]


def test_touching_the_level_and_going_on_is_one_crossing() -> None:
    assert evaluate(crossed_above(X, 0), x=[-1, 0, 1, 2]) == [False, False, True, False]


def test_words_over_windows_agree_with_numpy() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=60)
    for n in (2, 3, 7):
        windows = np.lib.stride_tricks.sliding_window_view(x, n)
        expected = {
            highest: windows.max(1),
            lowest: windows.min(1),
            mean: windows.mean(1),
            stdev: windows.std(1, ddof=1),
            zscore: (windows[:, -1] - windows.mean(1)) / windows.std(1, ddof=1),
        }
        for word, right in expected.items():
            got = evaluate(word(X, n), x=x.tolist())
            assert got[: n - 1] == [None] * (n - 1)
            np.testing.assert_allclose(np.array(got[n - 1 :], float), right, rtol=1e-9)


def test_rising_falling_held_happened() -> None:
    x = [1.0, 2, 3, 2, 1, 0]
    assert evaluate(rising(X, 2), x=x) == [None, None, True, False, False, False]
    assert evaluate(falling(X, 2), x=x) == [None, None, False, False, True, True]
    assert evaluate(held(B, 2), x=[1, 1, -1, 1]) == [None, True, False, False]
    assert evaluate(happened(B, 2), x=[1, -1, -1, 1]) == [None, True, False, True]
    assert evaluate(change(X, 2), x=x) == [None, None, 2, 0, -2, -2]


def test_choice_words_keep_unknown_unknown() -> None:
    x: list[float | None] = [1, 5, None]
    y: list[float | None] = [2, 3, 4]
    assert evaluate(minimum(X, Y), x=x, y=y) == [1, 3, None]
    assert evaluate(maximum(X, Y), x=x, y=y) == [2, 5, None]
    assert evaluate(where(X > Y, 1, 0), x=x, y=y) == [0, 1, None]
    assert evaluate(between(X, 1, Y), x=x, y=y) == [True, False, None]


def test_division_by_zero_is_unknown_not_infinite() -> None:
    assert evaluate(X / Y > 1, x=[1, 0, 4], y=[0, 0, 2]) == [None, None, True]
    assert evaluate(X**0.5 > 1, x=[-1, 4], y=[0, 0]) == [None, True]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: previous(X, 0), "1 to"),
        (lambda: previous(X, -1), "looks ahead"),
        (lambda: previous(X, 1.5), "whole number"),
        (lambda: highest(X, 0), "1 to"),
        (lambda: highest(X, True), "whole number"),
        (lambda: stdev(X, 1), "2 to"),
        (lambda: previous(5, 1), "needs a value over features"),
        (lambda: X & B, "parentheses"),
        (lambda: X < B, "needs numbers"),
        (lambda: B + 1, "needs numbers"),
        (lambda: X < 30 & B, "parentheses"),
        (lambda: X / 0, "division by zero"),
        (lambda: X * math.nan, "not finite"),
        (lambda: X * 1e300, "beyond"),
        (lambda: X**100, "exponent"),
        (lambda: X**Y, "exponent"),
        (lambda: X == "a", "is not a number"),
        (lambda: bool(B), "and, or, not"),
        (lambda: 1 < X < 2, "and, or, not"),
        (lambda: X + None, "is not a number"),
    ],
)
def test_what_has_no_meaning_is_refused(wrong: Callable[[], object], said: str) -> None:
    with pytest.raises(LanguageError, match=said):
        wrong()


def test_an_expression_that_doubles_itself_is_stopped_early() -> None:
    def doubled(value: Value, times: int) -> Value:
        return doubled(value + value, times - 1) if times else value

    with pytest.raises(LanguageError, match=str(MAX_NODES)):
        doubled(X, 100)


def test_a_chain_of_long_windows_is_stopped() -> None:
    with pytest.raises(LanguageError, match="looks back"):
        previous(previous(X, 1500), 1500)


# random strategies: whatever is said in the language, the past does not depend on the future

BARS = 24
EXACT = (
    lambda a, b: a + b,
    lambda a, _: previous(a, 3),
    lambda a, _: highest(a, 4),
    lambda a, b: where(crossed_above(a, b), a, b),
    lambda a, b: where(rising(a, 2) | happened(b > 0, 3), a, b),
)
"""Words whose results carry no rounding."""
ROUNDED = (*EXACT, lambda a, b: a / b, lambda a, _: mean(a, 3), lambda a, _: zscore(a, 5))


def values(words: Sequence[Callable[[Value, Value], Value]]) -> st.SearchStrategy[Value]:
    return st.recursive(
        st.sampled_from([X, Y]),
        lambda inner: st.builds(lambda word, a, b: word(a, b), st.sampled_from(words), inner, inner),
        max_leaves=6,
    )


def prices(seed: int) -> list[float | None]:
    rng = np.random.default_rng(seed)
    drawn = rng.integers(-20, 21, BARS)
    return [None if unknown else float(price) for price, unknown in zip(drawn, rng.random(BARS) < 0.05, strict=True)]


SEEDS = st.integers(0, 10_000)


@settings(max_examples=60)
@given(values(ROUNDED), SEEDS, st.integers(1, BARS - 1))
def test_the_past_does_not_depend_on_the_future(value: Value, seed: int, cut: int) -> None:
    x, y = prices(seed), prices(seed + 1)
    noise = prices(seed + 2)[cut:]
    whole = evaluate(value, x=x, y=y)[:cut]
    assert evaluate(value, x=x[:cut], y=y[:cut]) == whole
    assert evaluate(value, x=x[:cut] + noise, y=y[:cut] + noise)[:cut] == whole


@settings(max_examples=60)
@given(values(EXACT), SEEDS, st.integers(0, 5))
def test_lookback_is_enough_history(value: Value, seed: int, extra: int) -> None:
    x, y = prices(seed), prices(seed + 1)
    enough = value.lookback + 1 + extra
    assert evaluate(value, x=x[-enough:], y=y[-enough:])[-1] == evaluate(value, x=x, y=y)[-1]


def test_symbols_never_see_each_other() -> None:
    class Crossing(Strategy):
        """Buy the first close above 10."""

        name = "crossing"

        def detect(self, f: Features) -> Signal:
            return Signal(long_entry=crossed_above(f.close, 10))

    start = datetime(2025, 1, 1, tzinfo=UTC)
    closes = {"A": [1.0, 2, 3], "B": [20.0, 30, 5], "C": [5.0, 20, 30]}
    frame = pl.concat(
        pl.DataFrame({"symbol": [symbol] * 3, "ts": [start + timedelta(minutes=i) for i in range(3)], "close": given})
        for symbol, given in closes.items()
    )
    out = Crossing().signals(frame)
    assert out.select("symbol", "ts").equals(frame.select("symbol", "ts"))
    assert out["long_entry"].to_list() == [False] * 7 + [True, False]
