"""Which rows a model is trained on and which it is evaluated on.

Belongs here: the windows of a training run, purging and embargo of its rows. Does not belong here: windows and
walk-forward splits as such (`backtester.statistics.windows`), fitting, metrics.

A row is a decision at a bar's close (`decided_at`), and its label becomes known later (`label_known_at`). A row may be
trained on before a moment only if its label was known an embargo before that moment. It is evaluated in a window only
if both times lie in it. So no two sides of a split share a minute of market.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from backtester.statistics import windows
from backtester.statistics.windows import Window
from features.bars import Timeframe, bar_length

TRAIN_DAYS: Final = timedelta(days=7)
HOLDOUT_DAYS: Final = timedelta(days=1)


@dataclass(frozen=True)
class Fold(windows.Fold):
    """One step of a walk-forward, with the embargo between training and evaluation."""

    embargo: timedelta


def split(as_of: datetime, train: timedelta = TRAIN_DAYS, holdout: timedelta = HOLDOUT_DAYS) -> tuple[Window, Window]:
    """Return the training window [T - holdout - train, T - holdout) and the holdout [T - holdout, T).

    Parameters
    ----------
    as_of : datetime
        T, the end of the holdout, UTC.
    train, holdout : timedelta
        Lengths of the two windows.

    Returns
    -------
    tuple of two Window
        Training window and holdout.

    Examples
    --------
    >>> from datetime import UTC
    >>> train, holdout = split(datetime(2025, 6, 10, tzinfo=UTC))
    >>> train.start.day, train.end.day, holdout.end.day
    (2, 9, 10)
    """
    boundary = as_of - holdout
    return Window(boundary - train, boundary), Window(boundary, as_of)


def walk_forward(window: Window, folds: int, embargo: timedelta) -> list[Fold]:
    """Return folds that train on everything before and evaluate on the next interval, in order.

    Parameters
    ----------
    window : Window
        Split into `folds` + 1 equal intervals; the first is only trained on, each later one is evaluated once.
    folds : int
        At least 1.
    embargo : timedelta
        Time between a label becoming known and the evaluated interval, against effects that outlast the label.

    Returns
    -------
    list of Fold
        In order of time.

    Raises
    ------
    ValueError
        If there is no fold, or an interval is not longer than the embargo.
    """
    if folds >= 1 and window.length / (folds + 1) <= embargo:
        msg = (
            f"{folds} folds of {window.length / (folds + 1)} are not longer than the embargo of {embargo}; "
            "use fewer folds"
        )
        raise ValueError(msg)
    return [Fold(step.train, step.test, embargo) for step in windows.walk_forward(window, folds)]


def decided_at(timeframe: Timeframe) -> pl.Expr:
    """Return the time of a row's decision: its bar's close."""
    return pl.col("ts") + bar_length(timeframe)


def learnable(window: Window, timeframe: Timeframe, embargo: timedelta) -> pl.Expr:
    """Return which rows may be trained on: decided in the window, label known an embargo before its end.

    This is the purge: it drops the rows whose label reaches beyond the window.

    Parameters
    ----------
    window : Window
        Training window.
    timeframe : Timeframe
        Length of a bar.
    embargo : timedelta
        Time between a label becoming known and the end of the window.

    Returns
    -------
    Expr
        Boolean, over rows with `ts` and `label_known_at`.
    """
    return (decided_at(timeframe) >= window.start) & (pl.col("label_known_at") <= window.end - embargo)


def decided_in(window: Window, timeframe: Timeframe) -> pl.Expr:
    """Return which rows are evaluated: decided in the window, label known by its end."""
    return (decided_at(timeframe) >= window.start) & (pl.col("label_known_at") <= window.end)
