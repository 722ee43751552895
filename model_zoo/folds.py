"""Which rows a model may learn from and which it is judged on.

Belongs here: windows, walk-forward folds, purging and embargo, as times. Does not belong here: fitting, metrics.

A row is a decision at a bar's close (`decided_at`), and its label becomes known later (`label_known_at`). A row may be
learned from before a moment only if its label was known an embargo before that moment; it is judged within a window
only if both times lie in it. So no two sides of a split ever share a minute of market.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from features.bars import Timeframe, bar_length

TRAIN_DAYS: Final = timedelta(days=7)
HOLDOUT_DAYS: Final = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """A half-open stretch of time, [start, end)."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start >= self.end:
            msg = f"a window must start before it ends, not {self.start} to {self.end}"
            raise ValueError(msg)


@dataclass(frozen=True)
class Fold:
    """One step of a walk forward: learn from `train`, judge on `validation`, `embargo` between them."""

    train: Window
    validation: Window
    embargo: timedelta


def split(as_of: datetime, train: timedelta = TRAIN_DAYS, holdout: timedelta = HOLDOUT_DAYS) -> tuple[Window, Window]:
    """Return the training window [T - holdout - train, T - holdout) and the holdout [T - holdout, T)."""
    boundary = as_of - holdout
    return Window(boundary - train, boundary), Window(boundary, as_of)


def walk_forward(window: Window, folds: int, embargo: timedelta) -> list[Fold]:
    """Return folds that learn from all before and judge on the next stretch, in order.

    Parameters
    ----------
    window : Window
        Cut into `folds` + 1 equal stretches; the first is only learned from, each later one is judged once.
    folds : int
        At least 1.
    embargo : timedelta
        Time between a label becoming known and the stretch that is judged, against what outlasts the label itself.

    Raises
    ------
    ValueError
        If there is no fold, or a stretch is not longer than the embargo.
    """
    if folds < 1:
        msg = f"a walk forward needs at least 1 fold, not {folds}"
        raise ValueError(msg)
    stretch = (window.end - window.start) / (folds + 1)
    if stretch <= embargo:
        msg = f"{folds} folds of {stretch} are not longer than the embargo of {embargo}; use fewer folds"
        raise ValueError(msg)
    cuts = [window.start + stretch * i for i in range(folds + 1)] + [window.end]
    return [Fold(Window(window.start, cuts[i]), Window(cuts[i], cuts[i + 1]), embargo) for i in range(1, folds + 1)]


def decided_at(timeframe: Timeframe) -> pl.Expr:
    """Return the time of a row's decision: its bar's close."""
    return pl.col("ts") + bar_length(timeframe)


def learnable(window: Window, timeframe: Timeframe, embargo: timedelta) -> pl.Expr:
    """Return which rows may be learned from: decided in the window, label known an embargo before its end.

    This is the purge: it drops the rows whose label reaches into what comes after the window.
    """
    return (decided_at(timeframe) >= window.start) & (pl.col("label_known_at") <= window.end - embargo)


def judged(window: Window, timeframe: Timeframe) -> pl.Expr:
    """Return which rows are judged: decided in the window, label known by its end."""
    return (decided_at(timeframe) >= window.start) & (pl.col("label_known_at") <= window.end)
