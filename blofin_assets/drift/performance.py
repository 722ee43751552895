"""Load expected and realised hourly returns for one nightly drift run.

Belongs here: which rows are expected, which are the forward result. Does not belong here: comparing them
(`backtester.statistics.drift`), storing the results (the asset).

The expectation of a strategy or a book is the holdout of the cycle that activated it. That of a model or ensemble is
its daily holdouts up to that cycle, a week of them if available. Its predictions are compared under the same protocol
on both sides: holdouts before activation, and holdouts since.

Hours without bars are on neither side: they have no return, and zeros in their place would lower the expectation.

No look-ahead: nothing later than the as-of is read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal

import numpy as np
import polars as pl

from backtester.simulation.books import returns_of
from backtester.statistics.drift import DriftTest, compare
from backtester.statistics.seeds import derived_seed
from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.shared.fence import Failed, fenced
from blofin_assets.shared.vocabulary import Kind, by_version
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.array_types import FloatArray

Metric = Literal["net_return", "accuracy", "log_loss", "features"]

RECENT: Final = timedelta(days=14)
"""Longest forward period that is tested: an edge that dies after months must not hide behind them."""
EXPECTED_REACH: Final = HOLDOUT_LENGTH
"""Longest period of holdouts behind a model's expected performance: as long as the holdout of strategies."""
_DAY: Final = timedelta(days=1)
_SURE: Final = 1e-6
_PREDICTED: Final[tuple[Metric, ...]] = ("accuracy", "log_loss")

_FORWARD: Final = (
    "SELECT kind, name, version, activated_at, ts, net_return FROM research.forward_equity "
    "WHERE list_contains(?, name) AND ts > ? AND ts <= ? AND coalesce(with_bars, true) ORDER BY ts"
)
_TRADES: Final = (
    "SELECT kind, name, version, activated_at, exit_ts FROM research.forward_trades "
    "WHERE list_contains(?, name) AND exit_ts >= ? AND exit_ts < ? AND as_of <= ?"
)
_PREDICTIONS: Final = (
    "SELECT ts, probability, label FROM ml.predictions WHERE model_name = ? AND list_contains(?, as_of) "
    "AND probability IS NOT NULL AND label IS NOT NULL ORDER BY ts, symbol"
)


@dataclass(frozen=True, eq=False)
class RunTest:
    """One drift test of one tracked run.

    Attributes
    ----------
    kind, name, version, activated_at
        The run.
    metric : str
        What is compared.
    test : DriftTest
        The comparison; higher is better, so log-loss is negated.
    rows : int or None
        Predictions behind the forward series.
    expected_days : float
        Days behind the expectation.
    about : str
        Prefix of the reason, if any.
    """

    kind: str
    name: str
    version: str
    activated_at: datetime
    metric: Metric
    test: DriftTest
    rows: int | None
    expected_days: float
    about: str = ""


def build_tests(store: Warehouse, as_of: datetime, seed: int) -> list[RunTest]:
    """Return the performance tests of a drift run, in order of kind, name and metric.

    Parameters
    ----------
    store : Warehouse
        Where forward results, holdouts and predictions are stored.
    as_of : datetime
        Nothing later is read (UTC).
    seed : int
        Seed of the platform; each test derives its own.

    Returns
    -------
    list of RunTest
        Net returns of each run; accuracy and log-loss of models and ensembles.
    """
    runs = runs_of(store, as_of)
    rows = _rows(store, runs, as_of)
    tests = []
    for run in runs:
        tests += isolated_tests(run, ("net_return",), as_of, partial(_returns, rows, run, as_of, seed))
        if not by_version(run[0]):
            tests += isolated_tests(run, _PREDICTED, as_of, partial(_predictions, store, run, as_of, seed))
    return tests


Run = tuple[str, str, str, datetime]
"""Kind, name, version and activation of what is tracked."""


def runs_of(store: Warehouse, as_of: datetime) -> list[Run]:
    """Return the runs that are tracked at a time, in order of kind and name."""
    rows = store.read(query("drift/tracked_runs"), {"as_of": as_of}).iter_rows()
    return [(str(kind), str(name), str(version), start) for kind, name, version, start in rows]


def isolated_tests(
    run: Run, metrics: Sequence[Metric], as_of: datetime, ask: Callable[[], list[RunTest]]
) -> list[RunTest]:
    """Build the tests of one run; if that fails, return one inconclusive test per metric, with the reason.

    Parameters
    ----------
    run : Run
        The run.
    metrics : sequence of str
        Metrics to test.
    as_of : datetime
        As-of of the drift run.
    ask : callable
        Builds a test for each metric.

    Returns
    -------
    list of RunTest
        One per metric.
    """
    built = fenced(ask)
    if not isinstance(built, Failed):
        return built
    test = DriftTest(None, (as_of - run[3]) / _DAY, None, "nothing was compared")
    return [RunTest(*run, metric, test, None, 0.0, f"it failed: {built.reason}") for metric in metrics]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows behind the tests of returns: equity curves of holdouts, and the forward ledger."""

    equity: pl.DataFrame
    forward: pl.DataFrame
    trades: pl.DataFrame


def _rows(store: Warehouse, runs: Sequence[Run], as_of: datetime) -> _Rows:
    """Return the rows of all runs, read at once: a query costs more than its rows."""
    names, first = sorted({name for _, name, _, _ in runs}), min((start for *_, start in runs), default=as_of)
    since = as_of - RECENT
    return _Rows(
        store.read(query("drift/equity_curves"), {"names": names, "after": first - EXPECTED_REACH, "until": as_of}),
        store.read(_FORWARD, [names, since, as_of]),
        store.read(_TRADES, [names, since, as_of, as_of]),
    )


def _returns(rows: _Rows, run: Run, as_of: datetime, seed: int) -> list[RunTest]:
    kind, name, version, start = run
    by_name = not by_version(kind)
    since = max(start, as_of - RECENT)
    who = (pl.col("kind") == kind) & (pl.col("name") == name)
    who &= pl.lit(by_name) | (pl.col("version") == version)
    here = who & (pl.col("activated_at") == start)
    expected = _expected_returns(rows.equity, run)
    realised = rows.forward.filter(here, pl.col("ts") > since)["net_return"].to_numpy()
    trades = rows.trades.filter(here, pl.col("exit_ts") >= since).height
    comparison = compare(expected, realised, seed=derived_seed(seed, as_of, *run[:3], "net_return"))
    return [
        RunTest(*run, "net_return", DriftTest(comparison, (as_of - start) / _DAY, trades), None, len(expected) / 24)
    ]


def holdout_returns(store: Warehouse, runs: Sequence[Run]) -> dict[Run, FloatArray]:
    """Return the hourly net returns that are expected of each run: those of its holdouts before activation.

    Parameters
    ----------
    store : Warehouse
        Where equity curves of holdouts are stored.
    runs : sequence of Run
        The runs.

    Returns
    -------
    dict
        For each run the returns of hours with bars, fractions of fixed capital, oldest first; shape (hours,), which may
        be 0.
    """
    if not runs:
        return {}
    names, starts = sorted({name for _, name, _, _ in runs}), [start for *_, start in runs]
    window = {"names": names, "after": min(starts) - EXPECTED_REACH, "until": max(starts)}
    equity = store.read(query("drift/equity_curves"), window)
    return {run: _expected_returns(equity, run) for run in runs}


def _expected_returns(equity: pl.DataFrame, run: Run) -> FloatArray:
    """Return hourly returns of the holdouts that end whole days before activation, so that none overlap."""
    kind, name, version, start = run
    by_name = not by_version(kind)
    mine = (pl.col("kind") == kind) & (pl.col("name") == name) & (pl.lit(by_name) | (pl.col("version") == version))
    reach = EXPECTED_REACH if by_name else timedelta(microseconds=1)
    curves = equity.filter(mine, pl.col("as_of").is_between(start - reach, start, closed="right"))
    parts = [np.empty(0)]
    for as_of, curve in curves.group_by("as_of", maintain_order=True):
        if (start - as_of[0]) % _DAY == timedelta(0):
            level = curve["equity"].to_numpy()
            gained = np.diff(level)  # as the ledger's: PnL over fixed capital
            if kind == Kind.BOOK:  # its equity compounds, and the ledger has its returns
                gained = returns_of(level[1:], level[0])
            parts.append(gained[curve["with_bars"].to_numpy()[1:]])
    return np.concatenate(parts)


def _predictions(store: Warehouse, run: Run, as_of: datetime, seed: int) -> list[RunTest]:
    """Test the skill of a model in the holdouts before its activation against those since."""
    kind, name, version, start = run
    before = _hits(store, name, [start - n * _DAY for n in range(EXPECTED_REACH // _DAY)])
    whole_days = (as_of - max(start, as_of - RECENT)) // _DAY
    since = _hits(store, name, [as_of - n * _DAY for n in range(whole_days)])
    tests = []
    for metric in _PREDICTED:
        comparison = compare(
            before[metric].to_numpy(),
            since[metric].to_numpy(),
            seed=derived_seed(seed, as_of, kind, name, version, metric),
        )
        rows = int(since["rows"].sum() or 0)
        test = DriftTest(comparison, (as_of - start) / _DAY, None)
        tests.append(RunTest(*run, metric, test, rows, before.height / 24))
    return tests


def _hits(store: Warehouse, name: str, cycles: Sequence[datetime]) -> pl.DataFrame:
    """Return the hourly skill of a model in the holdouts of some cycles."""
    return hits(store.read(_PREDICTIONS, [name, list(cycles)]))


def hits(predictions: pl.DataFrame) -> pl.DataFrame:
    """Return the hourly skill of predictions: `hour, accuracy, log_loss` (higher is better), `rows`.

    Parameters
    ----------
    predictions : DataFrame
        `ts, probability, label`, the last 0 or 1.
    """
    sure = pl.col("probability").clip(_SURE, 1.0 - _SURE)
    right = pl.when(pl.col("label") > 0.5).then(sure).otherwise(1.0 - sure)  # noqa: PLR2004 - an event, 0 or 1
    hours = predictions.with_columns(pl.col("ts").dt.truncate("1h").alias("hour"), right.alias("right"))
    return (
        hours.group_by("hour")
        .agg(
            ((pl.col("probability") > 0.5) == (pl.col("label") > 0.5)).mean().alias("accuracy"),  # noqa: PLR2004
            pl.col("right").log().mean().alias("log_loss"),
            pl.len().alias("rows"),
        )
        .sort("hour")
    )
