"""A model as a strategy: it trades beyond a threshold for the horizon, or gates a fixed strategy.

Belongs here: the choice of the threshold on out-of-fold predictions, and the signals. Does not belong here: fills
and costs (`backtester`), which are the same as for strategies.

A model of the price's direction is traded directly (`ModelStrategy`). A model of volatility or risk has no side: it
opens and closes a gate on the entries of one fixed strategy, a crossing of moving averages (`EmaCross`,
`GateStrategy`), and is scored by the change that it makes.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from features.array_types import FloatArray
from features.bars import Timeframe
from model_zoo.models.base import Model

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
    """Distance from the level beyond which a model trades.

    Attributes
    ----------
    distance : float
        Long where P(up) is above level + distance, short where it is below level - distance; 0 for a gate.
    net : float
        Mean return of such a trade out of fold after costs, a fraction of notional; minus the costs where there
        was none.
    signals : int
        Bars out of fold beyond it.
    level : float
        Probability from which the distance is measured: 1/2 for a side, the base rate for a gate.
    """

    distance: float
    net: float
    signals: int
    level: float = 0.5

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
        Fees and slippage of entry and exit, a fraction of notional.

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
    paying = [
        candidate for candidate in tried if candidate.pays and candidate.signals >= least // 2
    ]  # ties may thin it out
    return max(paying, key=lambda candidate: candidate.net) if paying else tried[0]


def _threshold(distance: float, sure: FloatArray, net: FloatArray, round_trip: float) -> Threshold:
    beyond = sure > distance
    return Threshold(distance, float(net[beyond].mean()) if beyond.any() else -round_trip, int(beyond.sum()))


class _Trader:
    """What the traded models share: a name, one timeframe, and the model's inputs."""

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


class ModelStrategy(_Trader):
    """A trained directional model, as the backtester sees a strategy.

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
        edge = self._model.predict(frame).alias("edge") - self._threshold.level
        distance = self._threshold.distance
        return frame.select("symbol", "ts").with_columns(
            (edge > distance).fill_null(False).alias("long_entry"),
            (edge < -distance).fill_null(False).alias("short_entry"),
            pl.lit(self._model.spec.horizon, pl.Int32).alias("time_stop"),
        )


CROSS: Final = "ema_spread_9_21"
"""Sign of the fixed strategy's position: the fast moving average above the slow one, or below."""


def cross_side() -> pl.Expr:
    """Return the side that the fixed strategy takes at each bar: 1 long, -1 short, null where unknown."""
    return pl.col(CROSS).sign()


class EmaCross:
    """The fixed strategy that a gate opens and shuts: long while the fast moving average is above the slow one.

    Parameters
    ----------
    timeframe : Timeframe
        On which it trades.
    """

    version = "1"

    def __init__(self, timeframe: Timeframe) -> None:
        self.name = f"ema_cross_{timeframe}"
        self.timeframes: tuple[Timeframe, ...] = (timeframe,)

    def features(self, timeframe: Timeframe) -> list[str]:
        """Return what it reads, the same on every timeframe."""
        del timeframe
        return [CROSS]

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return its entries, always open; see `gated`."""
        return gated(frame, pl.lit(value=True))


def gated(frame: pl.DataFrame, is_open: pl.Expr | pl.Series) -> pl.DataFrame:
    """Return the fixed strategy's signals with entries only where the gate is open.

    Parameters
    ----------
    frame : DataFrame
        `symbol`, `ts` and the feature `CROSS`.
    is_open : Expr or Series of Boolean
        At each bar; null is shut.

    Returns
    -------
    DataFrame
        symbol, ts, long_entry, short_entry, long_exit, short_exit (Boolean). A crossing always ends a position: by a
        reversal where the gate is open, else by an exit. Row t depends on row t only.
    """
    rows = frame.select("symbol", "ts", cross_side().alias("side"))
    rows = rows.with_columns(
        (is_open if isinstance(is_open, pl.Expr) else pl.Series("open", is_open)).fill_null(value=False).alias("open")
    )
    up, down, free = pl.col("side") > 0, pl.col("side") < 0, pl.col("open")
    return rows.select(
        "symbol",
        "ts",
        (up & free).fill_null(value=False).alias("long_entry"),
        (down & free).fill_null(value=False).alias("short_entry"),
        (down & ~free).fill_null(value=False).alias("long_exit"),
        (up & ~free).fill_null(value=False).alias("short_exit"),
    )


class GateStrategy(_Trader):
    """The fixed strategy, entering only where a model of volatility or risk lets it.

    Parameters
    ----------
    name, model, threshold, version
        As for `ModelStrategy`. The gate is open where the probability of the model's event lies on the good side of
        the threshold's level: above it for volatility, since a move must pay the costs; below it for risk.
    """

    def features(self, timeframe: Timeframe) -> list[str]:
        """Return the model's inputs and what the fixed strategy reads."""
        return list(dict.fromkeys((*super().features(timeframe), CROSS)))

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the gated signals; see `gated`. Row t depends on row t only."""
        return gated(frame, is_open(self._model, self._model.predict(frame), self._threshold.level))


Tradable = ModelStrategy | GateStrategy


def is_open(model: Model, probability: pl.Series, level: float) -> pl.Series:
    """Return at which bars a gate is open.

    Parameters
    ----------
    model : Model
        Decides which side of the level is open.
    probability : Series
        Its predictions.
    level : float
        Of the gate.

    Returns
    -------
    Series
        Boolean; null where the probability is unknown.
    """
    return probability > level if model.gate_above else probability < level


def choose_gate(model: Model, predictions: pl.DataFrame, level: float, round_trip: float) -> Threshold:
    """Return the gate at a fixed level, with its out-of-fold result.

    Parameters
    ----------
    model : Model
        Decides which side of the level is open.
    predictions : DataFrame
        `probability`, `label_return` and the feature `CROSS` of out-of-fold predictions.
    level : float
        The base rate of the model's event in training.
    round_trip : float
        Fees and slippage of entry and exit, a fraction of notional.

    Returns
    -------
    Threshold
        At `level`, with distance 0.
    """
    rows = predictions.drop_nulls(["probability", "label_return", CROSS])
    net = rows.select(cross_side() * pl.col("label_return") - round_trip).to_series()
    let = net.filter(is_open(model, rows["probability"], level))
    return Threshold(0.0, float(let.mean()) if let.len() else -round_trip, let.len(), level)  # type: ignore[arg-type]


def strategy_of(name: str, model: Model, threshold: Threshold, version: str) -> Tradable:
    """Return the strategy that trades a model.

    Parameters
    ----------
    name : str
        Name of the strategy.
    model : Model
        Whose predictions are traded.
    threshold : Threshold
        Beyond which they are traded.
    version : str
        Of the strategy.

    Returns
    -------
    ModelStrategy or GateStrategy
        A gate where the model predicts no side.
    """
    return (ModelStrategy if model.directional else GateStrategy)(name, model, threshold, version)
