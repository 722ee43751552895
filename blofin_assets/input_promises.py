"""Reads what models' inputs looked like in training, before the forward days and in them: questions of a night.

Belongs here: which rows are held against which. Does not belong here: the comparison (`model_zoo.input_drift`), what
is decided of a night's tests together (`backtester.drift`), questions about results (`blofin_assets.promises`).

A model is trained anew every twelve hours, and what it learned last is no surprise to it. So the forward days, the
last fourteen at most, are held against the training window of the version that was in force when they began: an input
that has moved is found, and forgotten two weeks after it has come to rest.

No look-ahead: nothing later than the night is read.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from backtester.drift import LEAST_DAYS, Test
from blofin_assets.promises import RECENT, Question, Run, runs_of, seed_for
from blofin_assets.sources import RememberedSource
from blofin_assets.written_inputs import known_features
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import Timeframe, bar_length
from model_zoo.input_drift import LEAST_HISTORY, InputComparison, compare_inputs, levels_of, scores_of

HISTORY: Final = timedelta(days=28)
"""How far before the forward days chance is learned."""
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_TOO_YOUNG: Final = f"fewer than {LEAST_HISTORY} days of candles before the forward period, or inputs that never vary"

_VERSION: Final = (
    "SELECT timeframe, features_used, train_start, train_end FROM ml.ml_model_results WHERE model_name = ? "
    "AND status <> 'rejected' AND as_of <= ? ORDER BY as_of DESC LIMIT 1"
)


def input_questions(store: Warehouse, symbols: Sequence[str], night: datetime, seed: int) -> list[Question]:
    """Return one question for each model that is followed: whether its inputs are still distributed as in training.

    Parameters
    ----------
    store : Warehouse
        Of candles, models and who is followed.
    symbols : sequence of str
        Pooled.
    night : datetime
        Nothing later is read.
    seed : int
        Of the platform; each question has its own.
    """
    manager = FeatureManager(RememberedSource(store, night), night, known_features(store))
    return [_asked(store, manager, symbols, run, night, seed) for run in runs_of(store, night) if run[0] == "model"]


def _asked(
    store: Warehouse, manager: FeatureManager, symbols: Sequence[str], run: Run, night: datetime, seed: int
) -> Question:
    kind, name, version, start = run
    days = (night - max(start, night - RECENT)) // _DAY
    since = night - days * _DAY
    lasted = (night - start) / _DAY
    learned, now = (store.read(_VERSION, [name, at]) for at in (since, night))
    found, rows = None, 0
    if lasted > LEAST_DAYS and learned.height:
        window = (learned["train_start"][0], learned["train_end"][0])
        timeframe, names = now["timeframe"][0], now["features_used"][0].split(",")
        own = seed_for(seed, night, kind, name, version, "features")
        found, rows = _compared(manager, symbols, timeframe, names, (*window, since, night), own)
    test = Test(found, lasted, None, _TOO_YOUNG)
    trained = 0.0 if learned.is_empty() else (learned["train_end"][0] - learned["train_start"][0]) / _DAY
    return Question(*run, "features", test, rows, trained, "" if found is None else f"{found.name} moved most")


def _compared(
    manager: FeatureManager,
    symbols: Sequence[str],
    timeframe: Timeframe,
    names: Sequence[str],
    times: tuple[datetime, datetime, datetime, datetime],
    seed: int,
) -> tuple[InputComparison | None, int]:
    """Return the comparison of [since, night) with [start, end) of the training, and the forward bars behind it."""
    start, end, since, night = times
    frame = manager.window(list(symbols), timeframe, list(names), since - HISTORY, night)
    frame = frame.filter(pl.col("ts") + bar_length(timeframe) <= night)
    first = frame["ts"].min()
    if not isinstance(first, datetime):
        return None, 0
    reach = min(HISTORY, (since - first) // _DAY * _DAY)
    learned = frame.filter(pl.col("ts") >= start, pl.col("ts") < end)
    came = frame.filter(pl.col("ts") >= since)
    if reach < LEAST_HISTORY * _DAY or learned.is_empty() or came.is_empty():
        return None, came.height
    levels = levels_of(learned, names)
    spans = ((since - reach, since), (start, end), (since, night))
    history, train, forward = (
        scores_of(frame.filter(pl.col("ts") >= a, pl.col("ts") < b), names, levels, a, (b - a) // _HOUR)
        for a, b in spans
    )
    return compare_inputs(names, history, train, forward, seed=seed), came.height
