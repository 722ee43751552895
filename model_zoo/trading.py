"""A model as something that trades: beyond a threshold, for the horizon.

Belongs here: the choice of the threshold on predictions out of fold, and the signals. Does not belong here: fills
and costs (`backtester`), which are the same as for strategies.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from features.bars import Timeframe
from model_zoo.base import FloatArray, Model

LEAST_SIGNALS: Final = 30
"""A threshold must have been passed this often out of fold before its result counts."""
LEAST_SHARE: Final = 0.01
"""... and on this share of all bars."""
LARGEST_SHARE: Final = 0.25
"""A threshold that more bars pass is none."""
STEPS: Final = 30
"""Thresholds that are tried."""


@dataclass(frozen=True)
class Threshold:
    """How sure a model must be before it trades.

    Attributes
    ----------
    distance : float
        Long where P(up) is above 0.5 + distance, short where it is below 0.5 - distance.
    net : float
        Mean return of such a trade out of fold after costs, a fraction of notional; minus the costs where there
        was none.
    signals : int
        Bars out of fold beyond it.
    """

    distance: float
    net: float
    signals: int

    @property
    def pays(self) -> bool:
        """Whether trading beyond it earned its costs out of fold."""
        return self.net > 0


def choose_threshold(predictions: pl.DataFrame, round_trip: float) -> Threshold:
    """Return the threshold with the best mean net return out of fold.

    Parameters
    ----------
    predictions : DataFrame
        `probability` and `label_return` of predictions out of fold; rows without either are left out.
    round_trip : float
        Fees and slippage of going in and out, a fraction of notional.

    Returns
    -------
    Threshold
        Among those that at least `LEAST_SIGNALS` bars and `LEAST_SHARE` of all, at most `LARGEST_SHARE` pass, the one
        with the best mean. Where none earns its costs, the most demanding, and `pays` is false: the model is still
        followed, so that its score says what its surest calls are worth. A model that says the same of every bar
        passes no threshold and never trades.
    """
    rows = predictions.drop_nulls(["probability", "label_return"])
    edge = rows["probability"].to_numpy() - 0.5
    net = np.sign(edge) * rows["label_return"].to_numpy() - round_trip
    sure = np.abs(edge)
    least = max(LEAST_SIGNALS, int(np.ceil(LEAST_SHARE * rows.height)))
    most = max(least, int(LARGEST_SHARE * rows.height))
    if rows.height <= least:
        return Threshold(float(sure.max(initial=0.0)), -round_trip, 0)
    ordered = np.sort(sure)[::-1]
    places = np.unique(np.geomspace(least, min(most, rows.height - 1), STEPS).astype(np.int64))
    tried = [_threshold(float(ordered[place]), sure, net, round_trip) for place in places]
    paying = [each for each in tried if each.pays and each.signals >= least // 2]  # ties may thin it out
    return max(paying, key=lambda each: each.net) if paying else tried[0]


def _threshold(distance: float, sure: FloatArray, net: FloatArray, round_trip: float) -> Threshold:
    beyond = sure > distance
    return Threshold(distance, float(net[beyond].mean()) if beyond.any() else -round_trip, int(beyond.sum()))


class ModelStrategy:
    """A trained direction model, as the backtester sees a strategy.

    Parameters
    ----------
    name : str
        Under which its results are stored.
    model : Model
        Trained; trades on its own timeframe only.
    threshold : Threshold
        Fixed before the window that is traded.
    version : str
        Of the artifact.
    """

    def __init__(self, name: str, model: Model, threshold: Threshold, version: str) -> None:
        self.name = name
        self.version = version
        self.timeframes: tuple[Timeframe, ...] = (model.spec.timeframe,)
        self._model = model
        self._threshold = threshold

    def features(self, timeframe: Timeframe) -> list[str]:
        """Return the model's inputs."""
        if timeframe != self._model.spec.timeframe:
            msg = f"{self.name} trades on {self._model.spec.timeframe}, not on {timeframe}"
            raise ValueError(msg)
        return list(self._model.spec.inputs)

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return entries where P(up) is beyond the threshold, each held for the horizon.

        Parameters
        ----------
        frame : DataFrame
            Candle columns and the inputs; any number of symbols.

        Returns
        -------
        DataFrame
            symbol, ts, long_entry, short_entry (Boolean), time_stop (Int32, the horizon). Row t depends on row t only.
        """
        edge = self._model.predict(frame).alias("edge") - 0.5
        distance = self._threshold.distance
        return frame.select("symbol", "ts").with_columns(
            (edge > distance).fill_null(False).alias("long_entry"),
            (edge < -distance).fill_null(False).alias("short_entry"),
            pl.lit(self._model.spec.horizon, pl.Int32).alias("time_stop"),
        )
