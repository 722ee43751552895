"""What models learn to predict: the one place where a frame may look ahead.

Belongs here: labels from future prices, each with the time at which it becomes known. Does not belong here:
features; no label name may be asked of a `FeatureManager`, and `check_inputs` refuses one among a model's inputs.

A label belongs to the bar at whose close the decision is made. It measures what a decision could earn under the
backtester's rules: filled at the next bar's open, left `horizon` bars later at the open.
"""

from collections.abc import Iterable
from datetime import timedelta
from math import log
from typing import Final

import polars as pl

from features.bars import Timeframe, bar_length

PREFIX: Final = "label_"
"""Every column made here begins so, and no input of a model may."""

LABELS: Final = ("label_return", "label_up", "label_volatility", "label_adverse", "label_known_at")


def with_labels(candles: pl.DataFrame, timeframe: Timeframe, horizon: int) -> pl.DataFrame:
    """Return the candles with their labels.

    Parameters
    ----------
    candles : DataFrame
        `symbol`, `ts`, `open`, `high`, `low`, `flag` and any other columns of bars of one timeframe; any number of
        symbols.
    timeframe : Timeframe
        Length of a bar.
    horizon : int
        Bars held, at least 1.

    Returns
    -------
    DataFrame
        The same rows and columns, and: `label_return` (Float64), open of bar t + 1 + horizon over open of bar t + 1,
        less 1; `label_up` (Boolean), whether that is above 0; `label_known_at` (UTC time), the later of the two
        opens; `label_volatility` (Float64, ratio per bar), the volatility of the bars t + 1 to t + horizon from
        their highs and lows, sqrt(mean(ln(high / low)^2) / (4 ln 2)) (M. Parkinson 1980); `label_adverse` (Float64),
        the maximum adverse excursion over the same bars of a position taken at the open of bar t + 1, a fraction of
        its price, for the side that suffers more. `label_return` and `label_up` are null where either open is
        missing, flagged, or not yet there; or where the bar of the decision itself is flagged; a bar missing in
        between does no harm. The other two are null there too, and where any of their bars is missing or flagged.

    Raises
    ------
    ValueError
        If the horizon is below 1 or the frame has labels already.

    Notes
    -----
    Looks ahead, on purpose. Rows are found by time, not by position, so a gap cannot shift a label.
    """
    if horizon < 1:
        msg = f"a label needs a horizon of at least 1 bar, not {horizon}"
        raise ValueError(msg)
    present = [name for name in candles.columns if name.startswith(PREFIX)]
    if present:
        msg = f"the frame has labels already: {', '.join(present)}"
        raise ValueError(msg)
    step = bar_length(timeframe)
    sound = candles.filter(pl.col("flag").is_null())
    opens = sound.select("symbol", "ts", "open")
    entry = opens.select("symbol", pl.col("ts") - step, pl.col("open").alias("_entry"))
    leave = opens.select("symbol", pl.col("ts") - step * (horizon + 1), pl.col("open").alias("_exit"))
    both = candles.join(entry, on=["symbol", "ts"], how="left", maintain_order="left", validate="1:1").join(
        leave, on=["symbol", "ts"], how="left", maintain_order="left", validate="1:1"
    )
    both = both.join(
        _ahead(sound, timeframe, horizon), on=["symbol", "ts"], how="left", maintain_order="left", validate="1:1"
    )
    excursion = pl.max_horizontal(pl.col("_high") / pl.col("_entry") - 1, 1 - pl.col("_low") / pl.col("_entry"))
    gain = pl.when(pl.col("flag").is_null()).then(pl.col("_exit") / pl.col("_entry") - 1)
    return (
        both.with_columns(gain.alias("label_return"))
        .with_columns(
            (pl.col("label_return") > 0).alias("label_up"),
            pl.when(pl.col("label_return").is_not_null()).then(pl.col("_parkinson")).alias("label_volatility"),
            pl.when(pl.col("label_return").is_not_null() & pl.col("_low").is_not_null())
            .then(excursion)
            .alias("label_adverse"),
            (pl.col("ts") + step * (horizon + 1)).alias("label_known_at"),
        )
        .drop("_entry", "_exit", "_high", "_low", "_parkinson")
    )


def _ahead(sound: pl.DataFrame, timeframe: Timeframe, horizon: int) -> pl.DataFrame:
    """Return what the bars t + 1 to t + horizon did, by the bar t: highest high, lowest low, Parkinson's volatility."""
    span = bar_length(timeframe) * horizon
    window = f"{span // timedelta(seconds=1)}s"
    squared = (pl.col("high") / pl.col("low")).log() ** 2

    ahead = (
        sound.sort("symbol", "ts")
        .with_columns(squared.alias("_squared"), pl.lit(1).alias("_bars"))
        .select(
            "symbol",
            pl.col("ts") - span,
            pl.col("_bars").rolling_sum_by("ts", window).over("symbol").alias("_bars"),
            pl.col("high").rolling_max_by("ts", window).over("symbol").alias("_high"),
            pl.col("low").rolling_min_by("ts", window).over("symbol").alias("_low"),
            pl.col("_squared").rolling_mean_by("ts", window).over("symbol").alias("_squared"),
        )
    )
    return ahead.filter(pl.col("_bars") == horizon).select(
        "symbol", "ts", "_high", "_low", (pl.col("_squared") / (4 * log(2))).clip(0.0).sqrt().alias("_parkinson")
    )


def check_inputs(names: Iterable[str]) -> None:
    """Refuse a label among a model's inputs.

    Raises
    ------
    ValueError
        Naming the inputs that are labels.
    """
    labels = [name for name in names if name.rsplit(":", 1)[-1].startswith(PREFIX)]
    if labels:
        msg = f"{', '.join(labels)} would be an input, but is what the model must predict; take it out of the features"
        raise ValueError(msg)
