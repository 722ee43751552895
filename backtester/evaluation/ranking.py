"""The one order in which scored things are ranked: strategies, models and ensembles alike.

Belongs here: the order of rows that already carry a score, and which of them are the last. Does not belong here: the
score itself (`backtester.statistics.metrics`), what is done with a rank (the cycles).
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from backtester.evaluation.pooling import FEW_TRADES
from features.array_types import FloatArray, IntArray


def ranked(scores: pl.DataFrame) -> pl.DataFrame:
    """Return the rows from best to worst with a rank.

    Parameters
    ----------
    scores : DataFrame
        Columns `name` (String), `score` (Float64; null or NaN: none) and `total_trades` (integer); others are kept.
        `ruined` (integer, where there is such a column): lanes that the declared size and leverage ruin; null 0.

    Returns
    -------
    DataFrame
        The same rows with `rank` (Int32, from 1) first. Those with at least `FEW_TRADES` trades come by falling
        score, then those with fewer by falling score, then those without a score; last those that are ruined, by
        falling score. Equal scores go by name, then by version where there is such a column, so that the order never
        depends on the order of the rows.

    Raises
    ------
    ValueError
        If a column is missing or a name occurs twice.

    Examples
    --------
    >>> scores = pl.DataFrame({"name": ["a", "b"], "score": [1.0, 2.0], "total_trades": [20, 30]})
    >>> ranked(scores)["name"].to_list()
    ['b', 'a']
    """
    missing = [name for name in ("name", "score", "total_trades") if name not in scores.columns]
    if missing:
        msg = f"cannot rank: column {', '.join(missing)} is missing; there are {', '.join(scores.columns)}"
        raise ValueError(msg)
    key = ["name", "version"] if "version" in scores.columns else ["name"]
    if scores.select(key).is_duplicated().any():
        twice = scores.filter(scores.select(key).is_duplicated())["name"][0]
        msg = f"cannot rank: {twice} occurs twice; give one row for each"
        raise ValueError(msg)
    score = pl.col("score").fill_nan(None)
    ruined = pl.col("ruined").fill_null(0) > 0 if "ruined" in scores.columns else pl.col("name").is_null()
    few = ~ruined & (pl.col("total_trades").fill_null(0) < FEW_TRADES)
    return (
        scores.with_columns(score)
        .sort(ruined, score.is_null(), few, score.neg(), *key, nulls_last=True)
        .drop("rank", strict=False)
        .with_row_index("rank", offset=1)
        .with_columns(pl.col("rank").cast(pl.Int32))
    )


def last_fifth(names: Sequence[str]) -> list[str]:
    """Return the last fifth of names from best to worst, rounded up, the worst first: what is tuned or replaced.

    Examples
    --------
    >>> last_fifth(["a", "b", "c", "d", "e", "f"])
    ['f', 'e']
    """
    return list(names[len(names) - -(-len(names) // 5) :])[::-1]


def best_row(values: FloatArray, trades: IntArray) -> int | None:
    """Return the row of the highest value that rests on enough trades.

    Parameters
    ----------
    values : ndarray of shape (n,)
        What is compared; NaN where it is undefined.
    trades : ndarray of shape (n,), integer
        On how many trades each rests.

    Returns
    -------
    int or None
        The first of equal ones; None where no row has a value and `FEW_TRADES` trades.
    """
    rows = np.flatnonzero((trades >= FEW_TRADES) & np.isfinite(values))
    return int(rows[np.argmax(values[rows])]) if len(rows) else None
