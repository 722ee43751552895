"""Load the distributions of models' inputs in training and in forward days, for one nightly drift run.

Belongs here: which rows are compared. Does not belong here: the comparison (`model_zoo.evaluation.feature_drift`),
decisions over all tests of a run (`backtester.statistics.drift`), tests of results
(`blofin_assets.drift.performance`).

A model is retrained every twelve hours. So its forward days, fourteen at most, are compared with the training window
in force when the forward window began; a shift that has stabilised drops out after 14 days.

No look-ahead: nothing later than the as-of is read.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import polars as pl

from backtester.statistics.drift import LEAST_DAYS, DriftTest
from backtester.statistics.seeds import derived_seed
from blofin_assets.drift.performance import RECENT, Run, RunTest, isolated_tests, runs_of
from blofin_assets.shared.candle_cache import CachedCandleSource
from blofin_assets.shared.feature_registry import known_features
from blofin_assets.shared.vocabulary import Kind
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import Timeframe, bar_length
from model_zoo.evaluation.feature_drift import LEAST_HISTORY, InputComparison, compare_inputs, levels_of, scores_of

HISTORY: Final = timedelta(days=28)
"""History before the forward days from which the distribution by chance is estimated."""
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_TOO_YOUNG: Final = f"fewer than {LEAST_HISTORY} days of candles before the forward period, or inputs that never vary"

_VERSION: Final = (
    "SELECT timeframe, features_used, train_start, train_end FROM ml.ml_model_results WHERE model_name = ? "
    "AND status <> 'rejected' AND as_of <= ? ORDER BY as_of DESC LIMIT 1"
)


def build_input_tests(store: Warehouse, symbols: Sequence[str], as_of: datetime, seed: int) -> list[RunTest]:
    """Return one test per tracked model: whether its inputs are distributed as in training.

    Parameters
    ----------
    store : Warehouse
        Where candles, models and tracked runs are stored.
    symbols : sequence of str
        Symbols whose bars are pooled.
    as_of : datetime
        Nothing later is read (UTC).
    seed : int
        Seed of the platform; each test derives its own.

    Returns
    -------
    list of RunTest
        At most one per model.
    """
    manager = FeatureManager(CachedCandleSource(store, as_of), as_of, known_features(store))
    tests = []
    for run in runs_of(store, as_of):
        if run[0] == Kind.MODEL:
            ask = partial(_asked, store, manager, symbols, run, as_of, seed)
            tests += isolated_tests(run, ("features",), as_of, ask)
    return tests


def _asked(
    store: Warehouse, manager: FeatureManager, symbols: Sequence[str], run: Run, as_of: datetime, seed: int
) -> list[RunTest]:
    kind, name, version, start = run
    days = (as_of - max(start, as_of - RECENT)) // _DAY
    since = as_of - days * _DAY
    lasted = (as_of - start) / _DAY
    learned, now = (store.read(_VERSION, [name, at]) for at in (since, as_of))
    comparison, rows = None, 0
    if lasted > LEAST_DAYS and learned.height:
        window = (learned["train_start"][0], learned["train_end"][0])
        timeframe, names = now["timeframe"][0], now["features_used"][0].split(",")
        own = derived_seed(seed, as_of, kind, name, version, "features")
        comparison, rows = _compared(manager, symbols, timeframe, names, (*window, since, as_of), own)
    test = DriftTest(comparison, lasted, None, _TOO_YOUNG)
    trained = 0.0 if learned.is_empty() else (learned["train_end"][0] - learned["train_start"][0]) / _DAY
    return [
        RunTest(*run, "features", test, rows, trained, "" if comparison is None else f"{comparison.name} shifted most")
    ]


def _compared(
    manager: FeatureManager,
    symbols: Sequence[str],
    timeframe: Timeframe,
    names: Sequence[str],
    times: tuple[datetime, datetime, datetime, datetime],
    seed: int,
) -> tuple[InputComparison | None, int]:
    """Compare [since, as_of) with [start, end) of the training; return the result and the number of forward bars."""
    start, end, since, as_of = times
    frame = manager.window(list(symbols), timeframe, list(names), since - HISTORY, as_of)
    frame = frame.filter(pl.col("ts") + bar_length(timeframe) <= as_of)
    # A symbol that was delisted no longer contributes to the distribution: that is no drift.
    frame = frame.filter((pl.col("ts").max() >= as_of - _DAY).over("symbol"))
    first = frame["ts"].min()
    if not isinstance(first, datetime):
        return None, 0
    reach = min(HISTORY, (since - first) // _DAY * _DAY)
    learned = frame.filter(pl.col("ts") >= start, pl.col("ts") < end)
    recent = frame.filter(pl.col("ts") >= since)
    if reach < LEAST_HISTORY * _DAY or learned.is_empty() or recent.is_empty():
        return None, recent.height
    levels = levels_of(learned, names)
    spans = ((since - reach, since), (start, end), (since, as_of))
    history, train, forward = (
        scores_of(frame.filter(pl.col("ts") >= a, pl.col("ts") < b), names, levels, a, (b - a) // _HOUR)
        for a, b in spans
    )
    return compare_inputs(names, history, train, forward, seed=seed), recent.height
