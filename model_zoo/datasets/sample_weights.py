"""How much each training row counts.

Belongs here: sample weights for labels that overlap (M. López de Prado 2018, "Advances in Financial Machine Learning",
chapter 4: average uniqueness). Does not belong here: weights for class imbalance, which each model takes as its
method allows.
"""

from datetime import timedelta

import numpy as np
import polars as pl

from features.array_types import FloatArray
from features.bars import Timeframe, bar_length


def with_uniqueness(rows: pl.DataFrame, timeframe: Timeframe, horizon: int) -> pl.DataFrame:
    """Return the rows with `label_weight`, the average uniqueness of each label.

    Parameters
    ----------
    rows : DataFrame
        `symbol`, `ts`, `label_known_at` and `label_event`; those without an event get no weight and count for none.
    timeframe : Timeframe
        Length of a bar.
    horizon : int
        Bars that a label spans.

    Returns
    -------
    DataFrame
        The same rows in the same order. A label that shares each of its bars with k labels of its symbol weighs
        1 / k: about 1 / horizon in a run without gaps, 1 for one that stands alone.

    Notes
    -----
    Reads only when labels begin and end, so it is the same whatever the prices did.
    """
    labelled = rows.filter(pl.col("label_event").is_not_null())
    parts = [
        part.select("symbol", "ts", pl.Series("label_weight", _uniqueness(part["ts"], timeframe, horizon)))
        for part in labelled.sort("symbol", "ts").partition_by("symbol")
    ]
    empty = labelled.select("symbol", "ts", pl.lit(1.0).alias("label_weight")).clear()
    weighted = pl.concat([empty, *parts])
    return rows.join(weighted, on=["symbol", "ts"], how="left", maintain_order="left", validate="1:1")


def _uniqueness(ts: pl.Series, timeframe: Timeframe, horizon: int) -> FloatArray:
    """Return the mean over the bars t + 1 to t + horizon of 1 / (labels that span the bar), of one symbol."""
    step = bar_length(timeframe) // timedelta(microseconds=1)
    micros = ts.dt.epoch("us").to_numpy()
    place = (micros - micros[0]) // step
    bars = np.arange(int(place[-1]) + horizon + 1)
    shared = np.searchsorted(place, bars) - np.searchsorted(place, bars - horizon)
    parts = np.concatenate([[0.0], np.cumsum(1.0 / np.maximum(shared, 1))])
    unique: FloatArray = (parts[place + horizon + 1] - parts[place + 1]) / horizon
    return unique
