"""The one order in which scored things are ranked: strategies, models and ensembles alike.

Belongs here: the order of rows that already carry a score. Does not belong here: the score itself (metrics), what
is done with a rank (`strategies.ranking`, `model_zoo.ranking`).
"""

import polars as pl

from backtester.pooling import FEW_TRADES


def ranked(scores: pl.DataFrame) -> pl.DataFrame:
    """Return the rows from best to worst with a rank.

    Parameters
    ----------
    scores : DataFrame
        Columns `name` (String), `score` (Float64; null or NaN: none) and `total_trades` (integer); others are kept.

    Returns
    -------
    DataFrame
        The same rows with `rank` (Int32, from 1) first. Those with at least `FEW_TRADES` trades come by falling
        score, then those with fewer by falling score, then those without a score. Equal scores go by name, then by
        version where there is such a column, so that the order never depends on the order of the rows.

    Raises
    ------
    ValueError
        If a column is missing or a name occurs twice.
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
    return (
        scores.with_columns(score)
        .sort(score.is_null(), pl.col("total_trades").fill_null(0) < FEW_TRADES, score.neg(), *key, nulls_last=True)
        .drop("rank", strict=False)
        .with_row_index("rank", offset=1)
        .with_columns(pl.col("rank").cast(pl.Int32))
    )


def worst(order: pl.DataFrame, count: int | None) -> list[str]:
    """Return the names at the end of a ranking, the worst first.

    Parameters
    ----------
    order : DataFrame
        What `ranked` returned.
    count : int or None
        How many; a fifth of all, rounded up, where None. An explicit count wins.

    Raises
    ------
    ValueError
        If `count` is negative.
    """
    wanted = -(-order.height // 5) if count is None else count
    if wanted < 0:
        msg = f"count must not be negative, but is {wanted}"
        raise ValueError(msg)
    return order.tail(wanted)["name"].reverse().to_list()
