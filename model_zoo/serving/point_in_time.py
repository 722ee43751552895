"""Point-in-time predictions: at each bar, the latest model trained before its close.

Belongs here: the rule, and predictions made by it. Does not belong here: where models are stored (`blofin_assets`),
what one model predicts (`Model.predict`, `Ensemble.predict`).

No look-ahead: a model as of T predicts only bars that close after T, and has read nothing after T. Every prediction is
therefore out of sample, and there is none before the first model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import polars as pl

from features.bars import DEFAULT_TIMEFRAMES, MINUTES, TS, Timeframe, bar_length
from features.feature_manager import FeatureManager
from model_zoo.datasets.folds import decided_at

STALE: Final = timedelta(days=2)
"""Age from which a model is not used, since models are retrained every 12 hours."""


class Predictor(Protocol):
    """A model or an ensemble: something that gives the probability of its event at every bar."""

    def predict(self, frame: pl.DataFrame) -> pl.Series:
        """Return the probability for every row, row t from row t alone; null where it predicts nothing."""
        ...


@dataclass(frozen=True, eq=False)
class Version:
    """A predictor as of a moment.

    Attributes
    ----------
    as_of : datetime
        Nothing after it was known when the predictor was made.
    predictor : Predictor
        Ready to predict.
    inputs : tuple of str
        Features that it reads.
    """

    as_of: datetime
    predictor: Predictor
    inputs: tuple[str, ...]


def predict_as_of(
    manager: FeatureManager,
    versions: Sequence[Version],
    symbols: Sequence[str],
    timeframe: Timeframe,
    start: datetime,
    end: datetime,
    stale: timedelta = STALE,
) -> pl.DataFrame:
    """Return, for every bar of a window, the prediction of the latest version trained before it.

    Parameters
    ----------
    manager : FeatureManager
        As of `end` or later.
    versions : sequence of Version
        Of one name, on bars of this timeframe, in any order.
    symbols, timeframe
        Bars to predict.
    start, end : datetime
        Opening time of the first bar, and the moment by which the last one is closed.
    stale : timedelta
        Age up to which a version is used.

    Returns
    -------
    DataFrame
        `symbol`, `ts`, `probability` (Float64, null where the version predicts nothing), `as_of` of the version; no
        row without a version.

    Notes
    -----
    The value of a bar depends only on bars closed by its close and on a version as of an earlier moment.
    """
    spans = _spans(versions, end, stale)
    empty = pl.DataFrame(schema={"symbol": pl.String, "ts": TS, "probability": pl.Float64, "as_of": TS})
    inputs = list(dict.fromkeys(name for version, _ in spans for name in version.inputs))
    if not inputs or start >= end:
        return empty
    frame = manager.window(list(symbols), timeframe, inputs, start, end)
    parts = [empty]
    for version, until in spans:
        spoken = frame.filter(decided_at(timeframe) > version.as_of, decided_at(timeframe) <= until)
        if spoken.height:
            predicted = version.predictor.predict(spoken).alias("probability")
            parts.append(spoken.select("symbol", "ts", predicted, pl.lit(version.as_of).cast(TS).alias("as_of")))
    return pl.concat(parts).sort("symbol", "ts")


def spoken_on(timeframe: Timeframe) -> Timeframe:
    """Return the timeframe of the models that predict for bars of any timeframe.

    It is the bars' own where models are trained on it, else the longest shorter one: nobody trains on 15m, 4h or 1d,
    and what the latest bar of 5m or 60m says at the same close is known then, too.

    Examples
    --------
    >>> [spoken_on(timeframe) for timeframe in ("5m", "15m", "60m", "4h", "1d")]
    ['5m', '5m', '60m', '60m', '60m']
    """
    return [each for each in DEFAULT_TIMEFRAMES if MINUTES[each] <= MINUTES[timeframe]][-1]


def at_closes(predicted: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """Return the predictions that are made at the closes of longer bars, at the opening times of these.

    Parameters
    ----------
    predicted : DataFrame
        `ts` (opening times of bars of `spoken_on(timeframe)`) and any other columns.
    timeframe : Timeframe
        Of the longer bars.

    Returns
    -------
    DataFrame
        The rows of bars that close together with one of `timeframe`, `ts` being the opening time of that one.
    """
    before = bar_length(timeframe) - bar_length(spoken_on(timeframe))
    opened = predicted.with_columns(pl.col("ts") - before)
    return opened.filter(pl.col("ts") == pl.col("ts").dt.truncate(f"{MINUTES[timeframe]}m"))


def _spans(versions: Sequence[Version], end: datetime, stale: timedelta) -> list[tuple[Version, datetime]]:
    """Return each version with the last moment at which it is used."""
    ordered = sorted((version for version in versions if version.as_of < end), key=lambda version: version.as_of)
    followers = [*(version.as_of for version in ordered[1:]), end]
    return [(version, min(until, version.as_of + stale)) for version, until in zip(ordered, followers, strict=False)]
