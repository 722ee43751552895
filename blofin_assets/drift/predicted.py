"""Evidence on the predictions of models and ensembles: what each day's gained on the naive baseline.

Belongs here: the days of such records, by log-loss. Does not belong here: their e-process (`evidence`), the baseline
and the metrics of a cycle (`model_zoo.evaluation`).

A day's gain is the mean log-loss of the baseline less that of the model, on the holdout of the midnight at the day's
end: the version that said it was trained before. Probabilities are cut to [0.02, 0.98], so that no single prediction
decides. A record goes with that of the trades: the same name, the same activation.

No look-ahead: only cycles up to the as-of are read, and hours after activation.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from blofin_assets.drift.performance import EXPECTED_REACH, Run
from blofin_assets.shared.vocabulary import Kind
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.array_types import FloatArray
from features.bars import TS

PREDICTIONS: Final[dict[str, Kind]] = {"model predictions": Kind.MODEL, "ensemble predictions": Kind.ENSEMBLE}
"""Kinds of such records, and what makes the predictions."""
_DAY: Final = timedelta(days=1)
_HOURS: Final = 24
_KEY: Final = ["kind", "name", "version", "activated_at", "day"]


def predicted_days(
    store: Warehouse, daily: pl.DataFrame, written: Collection[tuple[object, ...]], as_of: datetime
) -> pl.DataFrame:
    """Return the days of all records on predictions: those written by other nights as they are, and new ones.

    Parameters
    ----------
    store : Warehouse
        Where predictions and written days are stored.
    daily : DataFrame
        `kind, name, version, activated_at, day, net_return` of the forward ledger: which days there are.
    written : collection of tuple
        Kind, name, version, activation and day of what other nights wrote.
    as_of : datetime
        The night (UTC).

    Returns
    -------
    DataFrame
        As `daily`, with the gain of the day in nats; null where nothing was predicted.
    """
    named = {made: kind for kind, made in PREDICTIONS.items()}
    days = daily.filter(pl.col("kind").is_in(list(named))).with_columns(pl.col("kind").replace(named))
    stored = store.read(query("drift/predicted_days"), {"kinds": list(PREDICTIONS), "as_of": as_of}).cast(daily.schema)
    new = days.filter([row not in written for row in days.select(_KEY).iter_rows()])
    cycles = sorted({day + _DAY for day in new["day"]})
    found = (
        _gains(store, new["name"].unique().to_list(), cycles)
        .with_columns((pl.col("as_of") - _DAY).alias("day"))
        .join(new.drop("net_return"), on=["name", "day"])
        .filter(pl.col("hour") >= pl.col("activated_at"))
        .group_by(_KEY)
        .agg((pl.col("gain").sum() / _HOURS).alias("net_return"))
    )
    added = new.drop("net_return").join(found, on=_KEY, how="left", maintain_order="left").select(daily.columns)
    told = pl.concat([stored, added])
    some = told.group_by(_KEY[:-1]).agg(pl.col("net_return").is_not_null().any().alias("any"))
    return told.join(some.filter("any"), on=_KEY[:-1], how="semi").sort(_KEY)


def holdout_gains(store: Warehouse, record: Run) -> FloatArray:
    """Return a record's hourly gains in the holdouts before it began, a week at most, whose sums are those of days.

    Parameters
    ----------
    store : Warehouse
        Where predictions are stored.
    record : Run
        The record.

    Returns
    -------
    FloatArray
        Nats, oldest first; shape (hours,), which may be 0.
    """
    _, name, _, start = record
    cycles = [start - n * _DAY for n in range(EXPECTED_REACH // _DAY)]
    gains = _gains(store, [name], cycles).sort("hour")["gain"].to_numpy()
    return np.asarray(gains / _HOURS, dtype=np.float64)


def _gains(store: Warehouse, names: Sequence[str], cycles: Sequence[datetime]) -> pl.DataFrame:
    """Return the mean gain of each hour in the holdouts of some cycles: `name, as_of, hour, gain`."""
    if not names or not cycles:
        return pl.DataFrame(schema={"name": pl.String, "as_of": TS, "hour": TS, "gain": pl.Float64})
    rows = store.read(query("drift/prediction_gains"), {"names": list(names), "cycles": list(cycles)})
    return rows.cast({"as_of": TS, "hour": TS})
