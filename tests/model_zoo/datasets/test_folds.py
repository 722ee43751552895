"""No two sides of a split share a minute of market."""

import itertools
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.statistics.windows import Window
from model_zoo.datasets.folds import decided_in, learnable, split, walk_forward
from model_zoo.datasets.labels import with_labels

T = datetime(2025, 6, 12, tzinfo=UTC)


def labelled(start: datetime, end: datetime, horizon: int) -> pl.DataFrame:
    ts = pl.datetime_range(start, end, "5m", closed="left", eager=True, time_unit="us")
    frame = pl.DataFrame({"ts": ts}).with_columns(
        symbol=pl.lit("A"), open=pl.lit(1.0), high=pl.lit(1.0), low=pl.lit(1.0), flag=pl.lit(None, pl.String)
    )
    return with_labels(frame, "5m", horizon)


def test_windows_of_a_cycle() -> None:
    train, holdout = split(T)
    assert train == Window(T - timedelta(days=8), T - timedelta(days=1))
    assert holdout == Window(T - timedelta(days=1), T)


def test_the_last_training_label_is_known_before_the_holdout_begins() -> None:
    train, holdout = split(T)
    rows = labelled(train.start, holdout.end, horizon=12)
    embargo = timedelta(hours=1)
    learned = rows.filter(learnable(train, "5m", embargo))
    tested = rows.filter(decided_in(holdout, "5m"))
    assert learned["label_known_at"].max() == holdout.start - embargo
    assert learned["ts"].min() == train.start
    assert tested["ts"].min() == holdout.start - timedelta(minutes=5)  # decided at the close, on the boundary
    assert tested["label_known_at"].max() == holdout.end


@given(st.integers(1, 6), st.integers(1, 48), st.integers(0, 120))
def test_folds_walk_forward_without_touching(folds: int, horizon: int, embargo_minutes: int) -> None:
    window = Window(T - timedelta(days=7), T)
    embargo = timedelta(minutes=embargo_minutes)
    rows = labelled(window.start, window.end, horizon)
    steps = walk_forward(window, folds, embargo)
    assert len(steps) == folds
    assert steps[-1].test.end == window.end
    seen = 0
    for fold in steps:
        learned = rows.filter(learnable(fold.train, "5m", fold.embargo))
        tested = rows.filter(decided_in(fold.test, "5m"))
        first_decision = tested["ts"].min() + timedelta(minutes=5)
        assert learned["label_known_at"].max() <= first_decision - embargo
        assert tested["label_known_at"].max() <= fold.test.end
        seen += tested.height
    assert seen <= rows.height
    for before, after in itertools.pairwise(steps):
        assert before.test.end == after.test.start


def test_impossible_folds_are_refused() -> None:
    window = Window(T - timedelta(hours=4), T)
    with pytest.raises(ValueError, match="fewer folds"):
        walk_forward(window, 3, timedelta(hours=1))
    with pytest.raises(ValueError, match="at least one fold"):
        walk_forward(window, 0, timedelta(0))


@pytest.mark.parametrize("days", [1, 3, 7, 14, 28])
@pytest.mark.parametrize("folds", [1, 2, 3, 4, 5])
def test_a_window_is_cut_into_equal_stretches(days: int, folds: int) -> None:
    """As stored models were trained: the cuts are multiples of one length, to the microsecond."""
    window = Window(T - timedelta(days=days), T)
    stretch = (window.end - window.start) / (folds + 1)
    cuts = [window.start + stretch * place for place in range(folds + 1)] + [window.end]
    steps = walk_forward(window, folds, timedelta(0))
    assert [(step.train, step.test) for step in steps] == [
        (Window(window.start, cuts[place]), Window(cuts[place], cuts[place + 1])) for place in range(1, folds + 1)
    ]
