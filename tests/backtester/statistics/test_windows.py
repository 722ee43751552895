from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.statistics.windows import Window, cycle_windows, holdout_length, holds_long, walk_forward

T = datetime(2025, 6, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def test_search_and_holdout_touch_but_never_overlap() -> None:
    cycle = cycle_windows(T)
    assert cycle.search == Window(T - 35 * DAY, T - 7 * DAY)
    assert cycle.holdout == Window(T - 7 * DAY, T)
    assert cycle.search.end == cycle.holdout.start
    assert cycle.forward(T + DAY) == Window(T, T + DAY)


def test_a_short_history_shortens_the_search_or_cancels_it() -> None:
    some = cycle_windows(T, T - 20 * DAY, 5 * DAY)
    assert some.search == Window(T - 15 * DAY, T - 7 * DAY)
    none = cycle_windows(T, T - 18 * DAY, 5 * DAY)
    assert none.search is None
    assert none.reason == "not run: 6.0 days of search after warm-up, at least 7 are needed"
    assert cycle_windows(T, T - 3 * DAY).reason.startswith("not run: 0.0 days")


@pytest.mark.parametrize(
    ("history", "days"), [(0, 28), (20, 28), (139, 28), (144, 28), (145, 29), (449, 89), (450, 90), (2_000, 90)]
)
def test_long_holdouts_take_a_fifth_of_the_history_within_their_bounds(history: int, days: int) -> None:
    assert holdout_length(history * DAY, long=True) == days * DAY
    assert holdout_length(history * DAY) == 7 * DAY


def test_a_long_holdout_leaves_to_search_only_what_lies_before() -> None:
    cycle = cycle_windows(T, T - 200 * DAY, 30 * DAY, long=True)
    assert cycle.holdout == Window(T - 40 * DAY, T)
    assert cycle.search == Window(T - 170 * DAY, T - 40 * DAY)
    assert cycle_windows(T, long=True).search == Window(T - 450 * DAY, T - 90 * DAY)
    none = cycle_windows(T, T - 40 * DAY, 6 * DAY, long=True)
    assert none.reason == "not run: 6.0 days of search after warm-up, at least 7 are needed"


def test_the_shortest_bars_of_a_strategy_decide_how_long_it_holds() -> None:
    assert holds_long(("4h",))
    assert holds_long(("1d", "4h"))
    assert not holds_long(("1d", "60m"))


@given(st.integers(1, 8), st.integers(0, 20), st.integers(0, 20), st.booleans())
def test_walk_forward_never_trains_on_what_it_tests(folds: int, purge: int, embargo: int, rolling: bool) -> None:
    window = Window(T - 28 * DAY, T)
    splits = walk_forward(window, folds, purge=purge * HOUR, embargo=embargo * HOUR, train=3 * DAY if rolling else None)
    assert splits[-1].test.end == window.end
    for split in splits:
        train = split.train
        assert train.start >= window.start
        assert train.end + (purge + embargo) * HOUR == split.test.start
        assert not rolling or train.length <= 3 * DAY
    for one, two in pairwise(splits):
        assert one.test.end == two.test.start


def test_impossible_splits_are_refused() -> None:
    window = Window(T - 2 * DAY, T)
    with pytest.raises(ValueError, match="fold 1 of 4 has an empty training window"):
        walk_forward(window, 4, purge=DAY)
    with pytest.raises(ValueError, match="at least one fold"):
        walk_forward(window, 0)
    with pytest.raises(ValueError, match="is empty"):
        Window(T, T)
    with pytest.raises(ValueError, match="no time zone"):
        Window(T.replace(tzinfo=None), T)
