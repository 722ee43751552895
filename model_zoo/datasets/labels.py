"""Labels: what models are trained to predict, and the one place where a frame may look ahead.

Belongs here: labels from future prices, each with the time at which it becomes known. Does not belong here:
features; a `FeatureManager` computes no label, and `check_inputs` rejects a label among a model's inputs.

A label belongs to the bar at whose close the decision is made. It measures what a decision could earn under the
backtester's rules: filled at the next bar's open, left `horizon` bars later at the open.
"""

from collections.abc import Iterable
from datetime import timedelta
from math import log
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.bars import Timeframe, bar_length

PREFIX: Final = "label_"
"""Every column made here begins so, and no input of a model may."""


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
        msg = f"the frame already has label columns: {', '.join(present)}"
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


def with_barriers(
    labelled: pl.DataFrame, timeframe: Timeframe, horizon: int, width: pl.Expr, round_trip: float
) -> pl.DataFrame:
    """Return labelled candles with `label_barrier`: which side would have earned first, net of costs.

    The triple-barrier method (M. López de Prado 2018, chapter 3). A position taken at the open of bar t + 1 meets the
    upper barrier at that price times (1 + width + round_trip), the lower at (1 - width - round_trip), so that either
    one earns its side `width` after costs; the third barrier is the open of bar t + 1 + horizon.

    Parameters
    ----------
    labelled : DataFrame
        As `with_labels` returns it.
    timeframe, horizon
        As for `with_labels`.
    width : Expr
        Distance of the barriers beyond costs, a fraction of the price known at the decision; above 0.
    round_trip : float
        Fees and slippage of going in and out, a fraction of notional.

    Returns
    -------
    DataFrame
        The same rows, and `label_barrier` (Boolean): True where the upper barrier is met first, False where the lower
        is. Where neither is met, the side that the horizon's return pays after costs; null where that pays neither
        side, where both barriers are met within one bar (the order is unknown), where the width is unknown, and where
        `label_adverse` is null. `label_known_at` stays that of the horizon, by which every barrier is decided: the
        purge needs no other time.

    Notes
    -----
    Looks ahead, on purpose.
    """
    step = bar_length(timeframe)
    with_reach = labelled.with_columns((width + round_trip).alias("_reach"))
    parts = []
    for part in with_reach.partition_by("symbol", maintain_order=True):
        sound = part.filter(pl.col("flag").is_null()).sort("ts")
        side = pl.Series("label_barrier", _first_side(sound, step, horizon, round_trip), pl.Int8)
        events = sound.select("ts", pl.when(side != 0).then(side > 0).alias("label_barrier"))
        parts.append(part.join(events, on="ts", how="left", maintain_order="left", validate="1:1"))
    nothing = with_reach.clear().with_columns(pl.lit(None, pl.Boolean).alias("label_barrier"))
    return pl.concat([nothing, *parts]).drop("_reach")


def _first_side(sound: pl.DataFrame, step: timedelta, horizon: int, round_trip: float) -> npt.NDArray[np.int8]:
    """Return 1, -1 or 0 for each sound bar of one symbol: the side whose barrier is met first, or that ends paid."""
    count = sound.height
    micros = sound["ts"].dt.epoch("us").to_numpy()
    high, low, opens = (sound[name].to_numpy() for name in ("high", "low", "open"))
    reach = sound["_reach"].to_numpy()
    gain = sound["label_return"].to_numpy()
    rows = np.arange(max(count - horizon, 0))
    unbroken = micros[rows + horizon] - micros[rows] == horizon * (step // timedelta(microseconds=1))
    rows = rows[unbroken & ~np.isnan(reach[rows]) & ~np.isnan(gain[rows])]
    entry = opens[rows + 1]
    upper, lower = entry * (1 + reach[rows]), entry * (1 - reach[rows])
    side = np.where(gain[rows] > round_trip, 1, np.where(gain[rows] < -round_trip, -1, 0))
    waiting = np.ones(len(rows), dtype=np.bool_)
    for ahead in range(1, horizon + 1):
        up, down = high[rows + ahead] >= upper, low[rows + ahead] <= lower
        met = waiting & (up | down)
        side = np.where(met, up.astype(np.int64) - down, side)
        waiting &= ~met
    sides = np.zeros(count, dtype=np.int8)
    sides[rows] = side
    return sides


def check_inputs(names: Iterable[str]) -> None:
    """Refuse a label among a model's inputs.

    Raises
    ------
    ValueError
        Naming the inputs that are labels.
    """
    labels = [name for name in names if name.rsplit(":", 1)[-1].startswith(PREFIX)]
    if labels:
        msg = f"{', '.join(labels)} is a label and cannot be an input; remove it from the inputs"
        raise ValueError(msg)
