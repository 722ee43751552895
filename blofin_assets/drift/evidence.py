"""Evidence from forward days: each night, the e-process of everything tracked, and which records are confirmed.

Belongs here: the asset, its rows and what is fixed when a record begins. Does not belong here: the arithmetic
(`backtester.statistics.e_process`), the returns (the forward ledger), whether results differ from expected ones
(`blofin_assets.drift.performance`).

A record is one run of the forward ledger; models and ensembles have a second one, of their predictions. Its scale and
its bounds follow from its holdouts and from the market before activation, and stay as they were. A day is written once:
the ledger that it rests on is append-only.

No look-ahead: a night reads days that were over by then, and what is fixed at activation rests on nothing later.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

import dagster as dg
import numpy as np
import polars as pl

from backtester.statistics.e_process import Days, confirmed, daily_returns, e_process, loss_bound, rank_weights
from backtester.statistics.metrics import varies
from blofin_assets.drift.assets import GROUP
from blofin_assets.drift.performance import Run, holdout_returns
from blofin_assets.drift.predicted import PREDICTIONS, holdout_gains, predicted_days
from blofin_assets.forward.assets import forward_ledger
from blofin_assets.shared.asset import lineage, stage_asset, table_preview
from blofin_assets.shared.partitions import day_start, days
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.shared.windows import cycle_as_of
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.bars import TS

_HOURS: Final = 24
_RANKS: Final = (
    "SELECT name, version, rank FROM research.ranking_history WHERE as_of = ? AND kind = ? AND rank IS NOT NULL"
)
_MEMBERS: Final = (
    "SELECT as_of AS cycle, name, version FROM research.ranking_history "
    "WHERE kind = 'strategy' AND status = 'active' AND as_of <= ? ORDER BY ALL"
)
_SET_CURVE: Final = "SELECT equity FROM research.active_set WHERE kind = 'strategy' AND as_of = ? ORDER BY ts"
ACTIVE_SET: Final = "active set"
"""Kind of the record of the active strategies as a whole."""
_KEY: Final = ("kind", "name", "version", "activated_at")
_LATER: Final = ("confirmed", "as_of")
_SCHEMA: Final[dict[str, Any]] = {
    "kind": pl.String, "name": pl.String, "version": pl.String, "activated_at": TS, "day": TS,
    "net_return": pl.Float64, "deviation": pl.Float64, "loss_bound": pl.Float64, "gain_bound": pl.Float64,
    "expected": pl.Float64, "weight": pl.Float64, "stake": pl.Float64, "capital": pl.Float64,
    "capital_worse": pl.Float64, "broken": pl.Boolean, "confirmed": pl.Boolean, "as_of": TS,
}  # fmt: skip


class Terms(NamedTuple):
    """What is fixed when a record begins; returns are daily, as fractions of fixed capital."""

    deviation: float
    loss_bound: float
    gain_bound: float
    expected: float
    weight: float


@stage_asset(
    group=GROUP,
    table="research.evidence_daily",
    partitions=days,
    deps=[lineage(forward_ledger, steps_back=1)],
    kinds=("polars", "duckdb"),
)
def forward_evidence(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Evidence that grows from day to day: the capital of a bettor on each tracked record, and which are confirmed."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    snapshot = store.snapshot_id()
    rows = evidence_rows(store, market.symbols, as_of)
    with store.transaction(context.run.run_id) as tx:
        tx.replace(
            "research.evidence_daily", rows.with_columns(pl.lit(snapshot).alias("snapshot_id")), as_of=as_of,
        )  # fmt: skip
    newest = rows.filter(pl.col("day") == pl.col("day").max()).sort("capital", descending=True)
    shown = newest.select("kind", "name", "capital", "capital_worse", "net_return", "broken", "confirmed")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "records": newest.height,
            "confirmed": int(newest["confirmed"].sum()),
            "assumption_broken": int(newest["broken"].sum()),
            **({"largest_capital": float(newest["capital"][0])} if newest.height else {}),
            **({"evidence": table_preview(shown, rows=60)} if newest.height else {}),
            "snapshot": tx.snapshot,
        }
    )


def evidence_rows(store: Warehouse, symbols: Sequence[str], as_of: datetime) -> pl.DataFrame:
    """Return the rows of the days that no earlier night has written.

    Parameters
    ----------
    store : Warehouse
        Where the forward ledger, holdouts and candles are stored.
    symbols : sequence of str
        Symbols traded; their moves are part of the bound on losses.
    as_of : datetime
        The night (UTC); nothing later is read.

    Returns
    -------
    DataFrame
        `research.evidence_daily` without snapshot and run. A record without a trade in its holdout has no scale, and no
        rows.
    """
    alone = store.read(query("drift/daily_returns"), {"as_of": as_of})
    written = store.read(query("drift/evidence_terms"), {"as_of": as_of})
    known = written.explode("days").select(*_KEY, "days")
    predicted = predicted_days(store, alone, set(known.iter_rows()), as_of)
    daily = pl.concat([alone, _together(store, alone, as_of), predicted])
    records = {_record(key): frame for key, frame in daily.group_by(_KEY, maintain_order=True)}
    fixed = {_record(row[:4]): Terms(*row[4:-1]) for row in written.iter_rows()}
    terms = _terms(store, symbols, records.keys() - fixed.keys()) | fixed
    every = [_path(record, frame, terms[record]) for record, frame in records.items() if record in terms]
    if not every:
        return pl.DataFrame(schema=_SCHEMA)
    paths = pl.concat(every)
    new = paths.join(known, left_on=[*_KEY, "day"], right_on=[*_KEY, "days"], how="anti")
    return _with_labels(new, paths).with_columns(pl.lit(as_of).cast(TS).alias("as_of"))


def _together(store: Warehouse, daily: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Return the days of the active strategies as a whole: on each, the mean of those that the newest cycle had chosen.

    The record begins with the first cycle and goes on through all. Choosing again each cycle is a part of it.
    """
    members = store.read(_MEMBERS, [as_of]).cast({"cycle": TS})
    own = daily.filter(pl.col("kind") == Kind.STRATEGY).sort("day", "activated_at", maintain_order=True)
    chosen = own.join_asof(members.select("cycle").unique().sort("cycle"), left_on="day", right_on="cycle")
    kept = chosen.join(members, on=["cycle", "name", "version"], how="semi")
    held = kept.unique(["day", "name", "version"], keep="last", maintain_order=True)
    labels = {"kind": ACTIVE_SET, "name": "strategies", "version": ""}
    return (
        held.group_by("day", maintain_order=True)
        .agg(pl.col("net_return").mean())
        .sort("day")
        .with_columns(*(pl.lit(value).alias(name) for name, value in labels.items()))
        .with_columns(pl.lit(members["cycle"].min(), TS).alias("activated_at"))
        .select(daily.columns)
        .cast(daily.schema)
    )


def _record(key: Sequence[Any]) -> Run:
    kind, name, version, start = key
    return str(kind), str(name), str(version), start


def _terms(store: Warehouse, symbols: Sequence[str], records: Iterable[Run]) -> dict[Run, Terms]:
    """Return what is fixed for records that begin; one without a trade in its holdout has no scale and is left out."""

    @cache
    def largest_move(kind: str, start: datetime) -> float:
        if kind in PREDICTIONS:
            return 0.0
        if kind == Kind.BOOK:
            return float(store.read(query("drift/largest_deep_move"), {"start": start})["move"][0] or 0.0)
        chosen = {"symbols": list(symbols), "start": start}
        return float(store.read(query("drift/largest_move"), chosen)["move"][0] or 0.0)

    returns, searched = holdout_returns(store, sorted(records)), _searched(store, records)
    for record in records:
        if record[0] == ACTIVE_SET:
            returns[record] = np.diff(store.read(_SET_CURVE, [record[3]])["equity"].to_numpy())
        elif record[0] in PREDICTIONS:
            returns[record] = holdout_gains(store, record)
    moved = {record: hours for record, hours in returns.items() if len(hours) and varies(hours.mean(), hours.var())}
    weights = _weights(store, moved)
    terms = {}
    for record, hours in moved.items():
        deviation = float(np.std(hours)) * math.sqrt(_HOURS)
        before = searched.get(record, Days(0.0, 0.0, 0.0))
        daily, scale = np.append(daily_returns(hours), before[1:]), max(deviation, before.deviation)
        losses, gains = (loss_bound(side, scale, largest_move(record[0], record[3])) for side in (daily, -daily))
        terms[record] = Terms(deviation, losses, gains, float(np.mean(hours)) * _HOURS, weights[record])
    return terms


def _searched(store: Warehouse, records: Iterable[Run]) -> dict[Run, Days]:
    """Return what the days of each version's search windows before its activation were like, where that is stored."""
    asked = pl.DataFrame(sorted(records), schema=dict(zip(_KEY, _SCHEMA.values(), strict=False)), orient="row")
    days = store.read(query("drift/searched_days"))
    found = (
        asked.join(days, on=["name", "version"])
        .filter(pl.col("kind") == Kind.STRATEGY, pl.col("as_of") <= pl.col("activated_at"))
        .group_by(_KEY)
        .agg(pl.col("deviation").max(), pl.col("worst").min(), pl.col("best").max())
    )
    return {_record(row[:4]): Days(*row[4:]) for row in found.select(*_KEY, *Days._fields).iter_rows()}


def _weights(store: Warehouse, records: Iterable[Run]) -> dict[Run, float]:
    """Return the weight of each record among those of its kind that begin with it, by rank in the holdout."""
    weights: dict[Run, float] = {}
    began = itemgetter(3, 0)
    for (start, kind), together in groupby(sorted(records, key=began), began):
        ranked = store.read(_RANKS, [start, PREDICTIONS.get(kind, kind)]).iter_rows()
        ranks = {(name, version): rank for name, version, rank in ranked}
        ordered = sorted(together, key=lambda record: (ranks.get((record[1], record[2]), math.inf), record))
        weights |= dict(zip(ordered, rank_weights(len(ordered)), strict=True))
    return weights


def _path(record: Run, daily: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """Return the rows of one record, without labels: every day since activation, those without returns as well."""
    first, last = daily["day"].min(), daily["day"].max()
    every = pl.DataFrame({"day": pl.datetime_range(first, last, "1d", eager=True, time_zone="UTC")}).cast({"day": TS})  # type: ignore[arg-type]
    rows = every.join(daily.select("day", "net_return"), on="day", how="left")
    returns = rows["net_return"].fill_null(math.nan).to_numpy()
    better = e_process(returns, terms.deviation, terms.loss_bound)
    worse = e_process(terms.expected - returns, terms.deviation, terms.gain_bound)
    return rows.with_columns(
        *(pl.lit(value).cast(_SCHEMA[name]).alias(name) for name, value in zip(_KEY, record, strict=True)),
        *(pl.lit(value).alias(name) for name, value in terms._asdict().items()),
        stake=pl.Series(better.stake), capital=pl.Series(better.capital), capital_worse=pl.Series(worse.capital),
        broken=pl.Series(better.broken),
    ).select(name for name in _SCHEMA if name not in _LATER)  # fmt: skip


def _with_labels(new: pl.DataFrame, paths: pl.DataFrame) -> pl.DataFrame:
    """Return new rows with whether each is confirmed at the end of its day, among all records begun by then.

    A record that is no longer tracked keeps its last capital in its family.
    """
    labelled = []
    for (day,), rows in new.group_by("day", maintain_order=True):
        latest = paths.filter(pl.col("day") <= day).group_by(_KEY, maintain_order=True).last()
        families = latest["activated_at"].dt.year().cast(pl.String).to_list()
        labels = confirmed(latest["capital"].to_list(), latest["weight"].to_list(), families)
        told = latest.select(_KEY).with_columns(confirmed=pl.Series(labels, dtype=pl.Boolean))
        labelled.append(rows.join(told, on=_KEY, how="left"))
    return pl.concat(labelled) if labelled else new.with_columns(confirmed=pl.lit(value=False))
