"""What models learn to predict: the one place where a frame may look ahead.

Belongs here: labels from future prices, each with the time at which it becomes known. Does not belong here:
features; no label name may be asked of a `FeatureManager`, and `check_inputs` refuses one among a model's inputs.

A label belongs to the bar at whose close the decision is made. It measures what a decision could earn under the
backtester's rules: filled at the next bar's open, left `horizon` bars later at the open.
"""

from collections.abc import Iterable
from typing import Final

import polars as pl

from features.bars import Timeframe, bar_length

PREFIX: Final = "label_"
"""Every column made here begins so, and no input of a model may."""

LABELS: Final = ("label_return", "label_up", "label_known_at")


def with_labels(candles: pl.DataFrame, timeframe: Timeframe, horizon: int) -> pl.DataFrame:
    """Return the candles with their labels.

    Parameters
    ----------
    candles : DataFrame
        `symbol`, `ts`, `open`, `flag` and any other columns of bars of one timeframe; any number of symbols.
    timeframe : Timeframe
        Length of a bar.
    horizon : int
        Bars held, at least 1.

    Returns
    -------
    DataFrame
        The same rows and columns, and: `label_return` (Float64), open of bar t + 1 + horizon over open of bar t + 1,
        less 1; `label_up` (Boolean), whether that is above 0; `label_known_at` (UTC time), the later of the two
        opens. `label_return` and `label_up` are null where either bar is missing, flagged, or not yet there; or
        where the bar of the decision itself is flagged. A bar missing in between does no harm.

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
    opens = candles.filter(pl.col("flag").is_null()).select("symbol", "ts", "open")
    entry = opens.select("symbol", pl.col("ts") - step, pl.col("open").alias("_entry"))
    leave = opens.select("symbol", pl.col("ts") - step * (horizon + 1), pl.col("open").alias("_exit"))
    both = candles.join(entry, on=["symbol", "ts"], how="left", maintain_order="left", validate="1:1").join(
        leave, on=["symbol", "ts"], how="left", maintain_order="left", validate="1:1"
    )
    gain = pl.when(pl.col("flag").is_null()).then(pl.col("_exit") / pl.col("_entry") - 1)
    return (
        both.with_columns(gain.alias("label_return"))
        .with_columns(
            (pl.col("label_return") > 0).alias("label_up"),
            (pl.col("ts") + step * (horizon + 1)).alias("label_known_at"),
        )
        .drop("_entry", "_exit")
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
