"""Which stretch of time is for what: search, exam, forward; and splits for walk-forward and cross-validation.

Belongs here: windows as pairs of times and the rules that keep them apart. Does not belong here: reading data.

Every window is half open, [start, end). What is learnt from one window may be used from its end on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

SEARCH_REACH: Final = timedelta(days=35)
"""How far before the as-of search and tuning see."""
EXAM_LENGTH: Final = timedelta(days=7)
"""The last days before the as-of: the exam, which search and tuning never see."""
LEAST_SEARCH: Final = timedelta(days=7)
"""Below this much search after warm-up a cycle reports 'not run'."""


@dataclass(frozen=True, order=True)
class Window:
    """A half-open stretch of time.

    Raises
    ------
    ValueError
        If it is empty or its times have no zone.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            msg = f"window {self.start} to {self.end} has no time zone; give UTC times"
            raise ValueError(msg)
        if self.start >= self.end:
            msg = f"window {self.start} to {self.end} is empty; give a start before its end"
            raise ValueError(msg)

    @property
    def length(self) -> timedelta:
        """End minus start."""
        return self.end - self.start

    def overlaps(self, other: "Window") -> bool:
        """Whether the two share any moment."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True)
class CycleWindows:
    """What a cycle with one as-of may look at.

    Parameters
    ----------
    as_of : datetime
        End of the exam, start of forward.
    search : Window, optional
        For search and tuning; null where the history is too short, see `reason`.
    exam : Window
        The last 7 days: each finalist and each active strategy once.
    reason : str
        Why there is no search, '' where there is.
    """

    as_of: datetime
    search: Window | None
    exam: Window
    reason: str = ""

    def forward(self, until: datetime) -> Window:
        """Return what came after the as-of, for the forward ledger."""
        return Window(self.as_of, until)


def cycle_windows(as_of: datetime, first_bar: datetime | None = None, warmup: timedelta = timedelta(0)) -> CycleWindows:
    """Return the search and exam windows of a cycle.

    Parameters
    ----------
    as_of : datetime
        UTC.
    first_bar : datetime, optional
        Where the history begins, if that is inside the search window.
    warmup : timedelta
        History that features need before their first value.

    Notes
    -----
    No look-ahead: the search ends where the exam starts, the exam ends at the as-of. A position open at the search's
    end is marked there; nothing of it is carried into the exam.
    """
    exam = Window(as_of - EXAM_LENGTH, as_of)
    start = as_of - SEARCH_REACH
    if first_bar is not None:
        start = max(start, first_bar + warmup)
    if exam.start - start < LEAST_SEARCH:
        days = max((exam.start - start).total_seconds(), 0.0) / 86_400
        reason = f"not run: {days:.1f} days of search after warm-up, at least {LEAST_SEARCH.days} are needed"
        return CycleWindows(as_of, None, exam, reason)
    return CycleWindows(as_of, Window(start, exam.start), exam)


@dataclass(frozen=True)
class Fold:
    """One split: fit on `train` (one or two windows), judge on `test`."""

    train: tuple[Window, ...]
    test: Window


def walk_forward(
    window: Window,
    folds: int,
    *,
    purge: timedelta = timedelta(0),
    embargo: timedelta = timedelta(0),
    train: timedelta | None = None,
    first_train: timedelta | None = None,
) -> list[Fold]:
    """Split a window into tests of equal length, one after the other, each fitted on what came before it.

    Parameters
    ----------
    window : Window
        The whole stretch.
    folds : int
        Number of tests.
    purge : timedelta
        Reach of a label (or the longest trade): what begins less than this before a test is not trained on, since its
        outcome lies inside the test.
    embargo : timedelta
        Further distance between train and test, for what serial correlation carries across.
    train : timedelta, optional
        Rolling length of the training window; by default it grows from the window's start.
    first_train : timedelta, optional
        History before the first test; by default as long as one test.

    Raises
    ------
    ValueError
        If there are no folds, a distance is negative, or a training window would be empty.
    """
    _check(folds, purge, embargo)
    if first_train is None:
        first_train = window.length / (folds + 1)
    length = (window.length - first_train) / folds
    splits = []
    for number in range(folds):
        begin = window.start + first_train + number * length
        end = window.end if number == folds - 1 else begin + length
        last = begin - purge - embargo
        first = window.start if train is None else max(window.start, last - train)
        if first >= last:
            msg = (
                f"fold {number + 1} of {folds} has nothing to train on: purge {purge} and embargo {embargo} use up the "
                f"{begin - window.start} before its test; take fewer folds or a longer window"
            )
            raise ValueError(msg)
        splits.append(Fold((Window(first, last),), Window(begin, end)))
    return splits


def purged_folds(
    window: Window, folds: int, *, purge: timedelta = timedelta(0), embargo: timedelta = timedelta(0)
) -> list[Fold]:
    """Split a window into tests of equal length, each fitted on all the rest (López de Prado 2018, ch. 7).

    `purge` is kept free on both sides of a test, `embargo` after it as well.

    Raises
    ------
    ValueError
        As `walk_forward`.
    """
    _check(folds, purge, embargo)
    length = window.length / folds
    splits = []
    for number in range(folds):
        begin = window.start + number * length
        end = window.end if number == folds - 1 else begin + length
        train = tuple(_pieces(window, begin - purge, end + purge + embargo))
        if not train:
            msg = f"fold {number + 1} of {folds} has nothing to train on; take a longer window than {window.length}"
            raise ValueError(msg)
        splits.append(Fold(train, Window(begin, end)))
    return splits


def _pieces(window: Window, before: datetime, after: datetime) -> Iterator[Window]:
    if before > window.start:
        yield Window(window.start, before)
    if after < window.end:
        yield Window(after, window.end)


def _check(folds: int, purge: timedelta, embargo: timedelta) -> None:
    if folds < 1 or purge < timedelta(0) or embargo < timedelta(0):
        msg = f"{folds} folds, purge {purge}, embargo {embargo}: give at least one fold and no negative distance"
        raise ValueError(msg)
