"""The windows of a cycle (search, holdout, forward), and walk-forward splits.

Belongs here: windows as pairs of times and the rules that keep them apart. Does not belong here: reading data.

Every window is half open, [start, end). A model fitted on a window may be used from its end on.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from features.bars import MINUTES, Timeframe

SEARCH_REACH: Final = timedelta(days=35)
"""How far before the as-of the search window begins."""
HOLDOUT_LENGTH: Final = timedelta(days=7)
"""The last days before the as-of, which search and tuning never see, of strategies on bars of up to an hour."""
LONG_HOLDOUT_LENGTH: Final = timedelta(days=90)
"""The same of what holds its positions for days: books, and strategies on 4h and 1d bars (`holds_long`)."""
LONG_HOLDOUT_PART: Final = 5
"""A long holdout takes at most one of so many parts of the history."""
LEAST_LONG_HOLDOUT: Final = timedelta(days=28)
"""A long holdout is never shorter: with fewer days it holds too few trades."""
LONG_SEARCH_REACH: Final = LONG_HOLDOUT_PART * LONG_HOLDOUT_LENGTH
"""How far before the as-of the search window of long holdings begins: a fifth is the holdout, as with short ones."""
HOLDOUT_NAME: Final = "holdout"
"""Name of that window in tables, such as `research.strategy_scores`."""
LEAST_SEARCH: Final = timedelta(days=7)
"""Shortest search window after warm-up; below it a cycle reports 'not run'."""


@dataclass(frozen=True, order=True)
class Window:
    """A half-open interval of time.

    Raises
    ------
    ValueError
        If it is empty or its times have no zone.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            msg = f"window {self.start} to {self.end} has no time zone; pass UTC times"
            raise ValueError(msg)
        if self.start >= self.end:
            msg = f"window {self.start} to {self.end} is empty; pass a start before the end"
            raise ValueError(msg)

    @property
    def length(self) -> timedelta:
        """End minus start."""
        return self.end - self.start


@dataclass(frozen=True)
class CycleWindows:
    """The windows of a cycle with one as-of.

    Parameters
    ----------
    as_of : datetime
        End of the holdout, start of forward.
    search : Window, optional
        For search and tuning; null where the history is too short, see `reason`.
    holdout : Window
        The last days, `holdout_length` of them; each finalist and each active strategy is run on it once.
    reason : str
        Why there is no search, '' where there is.
    """

    as_of: datetime
    search: Window | None
    holdout: Window
    reason: str = ""

    def forward(self, until: datetime) -> Window:
        """Return the window from the as-of to `until`, for the forward ledger."""
        return Window(self.as_of, until)


def holds_long(timeframes: Iterable[Timeframe]) -> bool:
    """Return whether what trades on these bars holds its positions for days, so that it needs a long holdout.

    Parameters
    ----------
    timeframes : iterable of Timeframe
        Those that a strategy is scored on, at least one. The shortest decides: most of its trades come from there.

    Examples
    --------
    >>> holds_long(("4h", "1d")), holds_long(("60m", "4h"))
    (True, False)
    """
    return min(MINUTES[timeframe] for timeframe in timeframes) >= MINUTES["4h"]


def holdout_length(history: timedelta | None = None, *, long: bool = False) -> timedelta:
    """Return the length of a holdout.

    Parameters
    ----------
    history : timedelta, optional
        From the first bar to the as-of; not needed where there is plenty.
    long : bool
        Whether positions are held for days: books, and strategies for which `holds_long` is true.

    Returns
    -------
    timedelta
        `HOLDOUT_LENGTH`; if long, `LONG_HOLDOUT_LENGTH`, or a fifth of the history (whole days) where that is less,
        but at least `LEAST_LONG_HOLDOUT`.

    Examples
    --------
    >>> [holdout_length(timedelta(days=days), long=True).days for days in (60, 141, 200, 900)]
    [28, 28, 40, 90]
    """
    if not long:
        return HOLDOUT_LENGTH
    if history is None:
        return LONG_HOLDOUT_LENGTH
    part = timedelta(days=(history / LONG_HOLDOUT_PART).days)
    return max(min(part, LONG_HOLDOUT_LENGTH), LEAST_LONG_HOLDOUT)


def cycle_windows(
    as_of: datetime, first_bar: datetime | None = None, warmup: timedelta = timedelta(0), *, long: bool = False
) -> CycleWindows:
    """Return the search and holdout windows of a cycle.

    Parameters
    ----------
    as_of : datetime
        UTC.
    first_bar : datetime, optional
        Where the history begins; without it, there is plenty.
    warmup : timedelta
        History that features need before their first value.
    long : bool
        Whether positions are held for days, see `holdout_length`.

    Returns
    -------
    CycleWindows
        `search` is None if it would be shorter than `LEAST_SEARCH`.

    Notes
    -----
    No look-ahead: the search window ends where the holdout starts, and the holdout ends at the as-of. A position still
    open at the end of the search window is marked to market there and not carried into the holdout.

    Examples
    --------
    >>> from datetime import UTC
    >>> windows = cycle_windows(datetime(2025, 6, 30, tzinfo=UTC))
    >>> str(windows.search.start), str(windows.holdout.start)
    ('2025-05-26 00:00:00+00:00', '2025-06-23 00:00:00+00:00')
    >>> windows = cycle_windows(datetime(2025, 6, 30, tzinfo=UTC), datetime(2024, 12, 12, tzinfo=UTC), long=True)
    >>> str(windows.search.start), str(windows.holdout.start)
    ('2024-12-12 00:00:00+00:00', '2025-05-21 00:00:00+00:00')
    """
    history = None if first_bar is None else max(as_of - first_bar, timedelta(0))
    holdout = Window(as_of - holdout_length(history, long=long), as_of)
    start = as_of - (LONG_SEARCH_REACH if long else SEARCH_REACH)
    if first_bar is not None:
        start = max(start, first_bar + warmup)
    if holdout.start - start < LEAST_SEARCH:
        days = max((holdout.start - start).total_seconds(), 0.0) / 86_400
        reason = f"not run: {days:.1f} days of search after warm-up, at least {LEAST_SEARCH.days} are needed"
        return CycleWindows(as_of, None, holdout, reason)
    return CycleWindows(as_of, Window(start, holdout.start), holdout)


@dataclass(frozen=True)
class Fold:
    """One step of a walk forward: fit on `train`, evaluate on the later `test`."""

    train: Window
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
    """Split a window into tests of equal length, one after the other, each trained on the time before it.

    Parameters
    ----------
    window : Window
        The window to split.
    folds : int
        Number of tests.
    purge : timedelta
        Horizon of a label (or the longest trade). Rows that begin less than this before a test are not trained on,
        since their outcome lies inside the test.
    embargo : timedelta
        Further distance between train and test, against serial correlation.
    train : timedelta, optional
        Rolling length of the training window; by default it grows from the window's start.
    first_train : timedelta, optional
        History before the first test; by default as long as one test.

    Returns
    -------
    list of Fold
        In order of time.

    Raises
    ------
    ValueError
        If there are no folds, a distance is negative, or a training window would be empty.

    Examples
    --------
    >>> from datetime import UTC
    >>> window = Window(datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 6, 16, tzinfo=UTC))
    >>> [fold.test.start.day for fold in walk_forward(window, 4)]
    [4, 7, 10, 13]
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
                f"fold {number + 1} of {folds} has an empty training window: purge {purge} and embargo {embargo} leave "
                f"nothing of the {begin - window.start} before its test; use fewer folds or a longer window"
            )
            raise ValueError(msg)
        splits.append(Fold(Window(first, last), Window(begin, end)))
    return splits


def _check(folds: int, purge: timedelta, embargo: timedelta) -> None:
    if folds < 1 or purge < timedelta(0) or embargo < timedelta(0):
        msg = f"{folds} folds, purge {purge}, embargo {embargo}: pass at least one fold and no negative distance"
        raise ValueError(msg)
