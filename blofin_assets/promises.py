"""Reads what was promised and what came, as hourly series: the questions of a night.

Belongs here: which rows are a promise, which are the forward result. Does not belong here: comparing them
(`backtester.drift`), storing what was found (the asset).

A strategy's promise is the exam of the cycle that made it active. A model's and an ensemble's are the holdouts up to
that cycle, one a day, a week of them where there is one; their predictions are held to the same protocol on both
sides: holdouts before activation, and holdouts since.

No look-ahead: nothing later than the night is read.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from backtester.drift import Test, compare
from blofin_resources.warehouse import Warehouse

Metric = Literal["net_return", "accuracy", "log_loss", "features"]
Floats = npt.NDArray[np.float64]

RECENT: Final = timedelta(days=14)
"""How much of the forward period a night looks at: an edge that dies after months must not hide behind them."""
PROMISED: Final = timedelta(days=7)
"""How far back holdouts make a model's promise: as long as an exam."""
_DAY: Final = timedelta(days=1)
_SURE: Final = 1e-6

_RUNS: Final = (
    "SELECT kind, name, version, activated_at FROM research.forward_runs WHERE state = 'followed' "
    "AND as_of = (SELECT max(as_of) FROM research.forward_runs WHERE as_of <= ?) "
    "AND (ends_at IS NULL OR ends_at > ?) ORDER BY kind, name, version, activated_at"
)
_EQUITY: Final = (
    "SELECT kind, name, version, as_of, ts, equity FROM research.equity WHERE list_contains(?, name) "
    "AND as_of > ? AND as_of <= ? ORDER BY as_of, ts"
)
_FORWARD: Final = (
    "SELECT kind, name, version, activated_at, ts, net_return FROM research.forward_equity "
    "WHERE list_contains(?, name) AND ts > ? AND ts <= ? ORDER BY ts"
)
_TRADES: Final = (
    "SELECT kind, name, version, activated_at, exit_ts FROM research.forward_trades "
    "WHERE list_contains(?, name) AND exit_ts >= ? AND exit_ts < ? AND as_of <= ?"
)
_SAID: Final = (
    "SELECT ts, probability, label FROM ml.predictions WHERE model_name = ? AND list_contains(?, as_of) "
    "AND probability IS NOT NULL AND label IS NOT NULL ORDER BY ts, symbol"
)


@dataclass(frozen=True, eq=False)
class Question:
    """One test of a night.

    Attributes
    ----------
    kind, name, version, activated_at
        Which run.
    metric : str
        What is compared.
    test : Test
        The comparison, more is better: log-loss is turned.
    rows : int or None
        Predictions behind the forward series.
    promise_days : float
        Days behind the promise.
    about : str
        What the reason begins with, if anything.
    """

    kind: str
    name: str
    version: str
    activated_at: datetime
    metric: Metric
    test: Test
    rows: int | None
    promise_days: float
    about: str = ""


def questions(store: Warehouse, night: datetime, seed: int) -> list[Question]:
    """Return the questions of a night, in order of kind, name and metric."""
    runs = runs_of(store, night)
    rows = _rows(store, runs, night)
    asked = []
    for run in runs:
        asked.append(_returns(rows, run, night, seed))
        if run[0] != "strategy":
            asked += _predictions(store, run, night, seed)
    return asked


Run = tuple[str, str, str, datetime]
"""Kind, name, version and activation of what is followed."""


def runs_of(store: Warehouse, night: datetime) -> list[Run]:
    """Return what is followed at a night, in order of kind and name."""
    rows = store.read(_RUNS, [night, night]).iter_rows()
    return [(str(kind), str(name), str(version), start) for kind, name, version, start in rows]


@dataclass(frozen=True, eq=False)
class _Rows:
    """What a night's questions about returns are answered from: curves of exams and holdouts, and the ledger's."""

    equity: pl.DataFrame
    forward: pl.DataFrame
    trades: pl.DataFrame


def _rows(store: Warehouse, runs: Sequence[Run], night: datetime) -> _Rows:
    """Return the rows of all runs, read at once: a query costs more than its rows."""
    names, first = sorted({name for _, name, _, _ in runs}), min((start for *_, start in runs), default=night)
    since = night - RECENT
    return _Rows(
        store.read(_EQUITY, [names, first - PROMISED, night]),
        store.read(_FORWARD, [names, since, night]),
        store.read(_TRADES, [names, since, night, night]),
    )


def _returns(rows: _Rows, run: Run, night: datetime, seed: int) -> Question:
    kind, name, version, start = run
    by_name = kind != "strategy"
    since = max(start, night - RECENT)
    reach = PROMISED if by_name else timedelta(microseconds=1)
    who = (pl.col("kind") == kind) & (pl.col("name") == name)
    who &= pl.lit(by_name) | (pl.col("version") == version)
    here = who & (pl.col("activated_at") == start)
    promised = pl.col("as_of").is_between(start - reach, start, closed="right")
    promise = _promised(rows.equity.filter(who, promised), start)
    came = rows.forward.filter(here, pl.col("ts") > since)["net_return"].to_numpy()
    trades = rows.trades.filter(here, pl.col("exit_ts") >= since).height
    found = compare(promise, came, seed=seed_for(seed, night, *run[:3], "net_return"))
    return Question(*run, "net_return", Test(found, (night - start) / _DAY, trades), None, len(promise) / 24)


def _promised(equity: pl.DataFrame, start: datetime) -> Floats:
    """Return hourly returns of the exams or holdouts that end whole days before activation, so that none overlap."""
    parts = [np.empty(0)]
    for as_of, curve in equity.group_by("as_of", maintain_order=True):
        if (start - as_of[0]) % _DAY == timedelta(0):
            values = curve["equity"].to_numpy()
            parts.append(values[1:] / values[:-1] - 1.0)
    return np.concatenate(parts)


def _predictions(store: Warehouse, run: Run, night: datetime, seed: int) -> list[Question]:
    """Return how right a model was in the holdouts before its activation, and in those since."""
    kind, name, version, start = run
    before = _hits(store, name, [start - n * _DAY for n in range(PROMISED // _DAY)])
    whole_days = (night - max(start, night - RECENT)) // _DAY
    since = _hits(store, name, [night - n * _DAY for n in range(whole_days)])
    asked = []
    for metric in ("accuracy", "log_loss"):
        found = compare(
            before[metric].to_numpy(), since[metric].to_numpy(), seed=seed_for(seed, night, kind, name, version, metric)
        )
        rows = int(since["rows"].sum() or 0)
        test = Test(found, (night - start) / _DAY, None)
        asked.append(Question(*run, metric, test, rows, before.height / 24))
    return asked


def _hits(store: Warehouse, name: str, cycles: Sequence[datetime]) -> pl.DataFrame:
    """Return, for each hour of the holdouts of some cycles, how right a model was: the more the better."""
    return hits(store.read(_SAID, [name, list(cycles)]))


def hits(said: pl.DataFrame) -> pl.DataFrame:
    """Return, for each hour, how right probabilities were: `hour, accuracy, log_loss` (the more the better), `rows`.

    Parameters
    ----------
    said : DataFrame
        `ts, probability, label`, the last 0 or 1.
    """
    sure = pl.col("probability").clip(_SURE, 1.0 - _SURE)
    right = pl.when(pl.col("label") > 0.5).then(sure).otherwise(1.0 - sure)  # noqa: PLR2004 - an event, 0 or 1
    hours = said.with_columns(pl.col("ts").dt.truncate("1h").alias("hour"), right.alias("right"))
    return (
        hours.group_by("hour")
        .agg(
            ((pl.col("probability") > 0.5) == (pl.col("label") > 0.5)).mean().alias("accuracy"),  # noqa: PLR2004
            pl.col("right").log().mean().alias("log_loss"),
            pl.len().alias("rows"),
        )
        .sort("hour")
    )


def seed_for(seed: int, night: datetime, *parts: Any) -> int:
    """Return a seed that belongs to one question of one night."""
    text = "|".join(str(part) for part in (seed, night.isoformat(), *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
