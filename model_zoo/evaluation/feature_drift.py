"""Feature drift: distance between a model's inputs and their training window, against movement by chance.

Belongs here: hourly scores of inputs, the comparison of forward hours with the training window. Does not belong here:
which windows (`blofin_assets.drift.inputs`), what a night decides of many tests (`backtester.statistics.drift`).

*Distance.* Each input is cut at the nine deciles of its training window. How far the shares below them have moved, the
root of the mean square over the nine, is its distance: 0 where nothing moved, at most 1; a shift of one standard
deviation of a normal input is about 0.28. It is Cramér and von Mises's distance on the grid of the training window.

*Movement by chance.* Bars are autocorrelated over hours, so it has no closed form and is resampled. Blocks of 24 hours
are drawn from the circle of the hours before the forward period, up to four weeks of them (Künsch 1989; Politis &
Romano 1992), as many as the two windows are long, each centred at the mean of all. All inputs take the same blocks, so
that the largest of their distances, each in units of its own usual one, has one threshold. Where an input hangs
together over days, blocks of a day hide that: their spread is enlarged by what an autocorrelation of share * decay^lag,
fitted to the same hours, has beyond a day. Few blocks know their own spread badly: each draw is divided as Student's t
is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl
from scipy.stats import norm

from backtester.statistics.bootstrap import circular_blocks, interval, means_of_blocks
from backtester.statistics.drift import BLOCK, FALSE_DISCOVERY, INTERVAL, POWER
from features.array_types import FloatArray
from features.bars import TS

LEVELS: Final = tuple(share / 10 for share in range(1, 10))
"""Deciles of the training window."""
DRAWS: Final = 4_999
LEAST_HISTORY: Final = 21
"""Fewest days before the forward period from which movement by chance is estimated."""
LAGS: Final = (1, 2, 4, 8, 12, 16)
"""Lags in hours at which the autocorrelation is fitted."""
HOUR: Final = timedelta(hours=1)
_MOST_DECAY: Final = 0.99
_LEAST_CORRELATION: Final = 0.08
_ROUNDS: Final = 20
_MOST_LOST: Final = 0.9


@dataclass(frozen=True)
class InputComparison:
    """The input that moved most, by its distance in units of what chance does.

    Attributes
    ----------
    name : str
        Of the input.
    expected : float
        Distance that chance alone gives it: root mean square of the draws.
    expected_se : float
        Standard deviation of the draws.
    forward : float
        Its distance.
    difference : float
        Forward less expected: above 0 is further away than chance.
    low, high : float
        90 % interval of the difference.
    p : float
        Of the largest distance of all inputs as large, where none has moved.
    spread : float
        Standard deviation of the distance, where it is as far away as it is.
    largest : tuple of float
        The draws' largest distances over all inputs, in this input's unit, ascending.
    """

    name: str
    expected: float
    expected_se: float
    forward: float
    difference: float
    low: float
    high: float
    p: float
    spread: float
    largest: tuple[float, ...]

    @property
    def effect(self) -> float:
        """Difference over the larger of what chance gives and its standard deviation."""
        return self.difference / max(self.expected, self.expected_se)

    def minimum_detectable(self, tests: int) -> float:
        """Return the smallest difference that one of so many tests would find with a probability of 80 %, about."""
        needed = float(np.quantile(np.asarray(self.largest), 1.0 - FALSE_DISCOVERY / tests))
        return needed - self.expected + float(norm.ppf(POWER)) * self.spread


def levels_of(frame: pl.DataFrame, names: Sequence[str]) -> FloatArray:
    """Return the deciles of each input over sound bars, shape (n_inputs, 9); NaN for one that is never known."""
    sound = frame.filter(pl.col("flag").is_null()).select(_finite(name) for name in names)
    return np.array(
        [
            [np.nan if (at := sound[name].quantile(share, "linear")) is None else at for share in LEVELS]
            for name in names
        ],
        np.float64,
    ).reshape(len(names), len(LEVELS))


def scores_of(frame: pl.DataFrame, names: Sequence[str], levels: FloatArray, start: datetime, hours: int) -> FloatArray:
    """Return the shares at or below each level, hour by hour.

    Parameters
    ----------
    frame : DataFrame
        `ts`, `flag` and the inputs.
    names : sequence of str
        Inputs.
    levels : ndarray of shape (n_inputs, 9)
        Of `levels_of`.
    start : datetime
        A full hour.
    hours : int
        How many.

    Returns
    -------
    ndarray of shape (n_hours, n_inputs, 9)
        Over all symbols and bars that open in the hour; NaN where an input is not known at all.
    """
    grid = pl.select(pl.datetime_range(start, start + (hours - 1) * HOUR, HOUR, time_zone="UTC").alias("hour").cast(TS))
    below = [
        (_finite(name) <= float(levels[place, level])).mean().alias(f"{place}|{level}")
        for place, name in enumerate(names)
        for level in range(len(LEVELS))
    ]
    sound = frame.filter(pl.col("flag").is_null()).with_columns(pl.col("ts").dt.truncate("1h").cast(TS).alias("hour"))
    table = grid.join(sound.group_by("hour").agg(below), on="hour", how="left", maintain_order="left")
    values: FloatArray = table.drop("hour").to_numpy().astype(np.float64)
    return values.reshape(hours, len(names), len(LEVELS))


def compare_inputs(
    names: Sequence[str], history: FloatArray, train: FloatArray, forward: FloatArray, *, seed: int, draws: int = DRAWS
) -> InputComparison | None:
    """Return how far the inputs have moved from their training window, and how far they move by chance.

    Parameters
    ----------
    names : sequence of str
        Inputs.
    history, train, forward : ndarray of shape (n_hours, n_inputs, 9)
        Of `scores_of`: whole days before the forward period, the training window, whole days since.
    seed : int
        Of the draws.
    draws : int
        How many.

    Returns
    -------
    InputComparison or None
        None where the history is shorter than 21 days, or no input varies from day to day.

    Notes
    -----
    An input that is known in less than half of the hours of a window is left out.
    """
    if len(history) < LEAST_HISTORY * BLOCK or not len(train) or not len(forward):
        return None
    usable = [
        place
        for place in range(len(names))
        if all(np.isfinite(part[:, place, 0]).mean() > 1 / 2 for part in (history, train, forward))
    ]
    past, trained, recent = (_filled(part[:, usable]) for part in (history, train, forward))
    moved = recent.mean(axis=0) - trained.mean(axis=0)
    drawn = _by_chance(past, (len(trained), len(recent)), np.random.default_rng(seed), draws)
    far, chance = _distance(moved), _distance(drawn)
    usual = np.sqrt((chance**2).mean(axis=0))
    varying = usual > 0.0
    if not varying.any():
        return None
    unit = np.where(varying, usual, 1.0)
    ratios = np.where(varying, far / unit, 0.0)
    largest = np.where(varying, chance / unit, 0.0).max(axis=1)
    first = int(np.argmax(ratios))
    here = _distance(moved[first] + drawn[:, first])
    below, above = interval(here, INTERVAL)
    expected, distance = float(usual[first]), float(far[first])
    return InputComparison(
        name=names[usable[first]],
        expected=expected,
        expected_se=float(chance[:, first].std()),
        forward=distance,
        difference=distance - expected,
        low=2.0 * distance - above - expected,
        high=2.0 * distance - below - expected,
        p=(1.0 + float(np.count_nonzero(largest >= ratios[first]))) / (draws + 1.0),
        spread=float(here.std()),
        largest=tuple(np.sort(largest) * expected),
    )


def _finite(name: str) -> pl.Expr:
    value = pl.col(name).cast(pl.Float64)
    return pl.when(value.is_finite()).then(value).alias(name)


def _filled(scores: FloatArray) -> FloatArray:
    """Return the scores with the window's mean where an hour is unknown: it moves nothing."""
    return np.where(np.isfinite(scores), scores, np.nanmean(scores, axis=0))


def _distance(moved: FloatArray) -> FloatArray:
    """Return the root mean square over the last axis, the levels."""
    distances: FloatArray = np.sqrt((moved**2).mean(axis=-1))
    return distances


def _by_chance(past: FloatArray, lengths: Sequence[int], rng: np.random.Generator, draws: int) -> FloatArray:
    """Return differences of two windows' means where nothing has changed, shape (n_draws, n_inputs, n_levels)."""
    hours = len(past)
    blocks = circular_blocks(past, BLOCK)
    fits = [_autocorrelation(past[:, place]) for place in range(past.shape[1])]
    total = np.zeros((draws, *past.shape[1:]))
    for length in lengths:
        means = means_of_blocks(blocks, max(1, length // BLOCK), draws=draws, rng=rng)
        hidden = [_hidden(share, decay, length, hours) for share, decay in fits]
        total += means * np.sqrt(hidden)[np.newaxis, :, np.newaxis]
    freedom = 1.5 * hours / BLOCK - 1.0  # of the spread of overlapping blocks
    return total / np.sqrt(rng.chisquare(freedom, draws) / freedom)[:, np.newaxis, np.newaxis]


def _mean_variance(share: float, decay: float, hours: int) -> float:
    """Return the variance of the mean of so many hours, whose own is 1 and their correlation share * decay^lag."""
    lags = np.arange(1, hours)
    return float(1.0 + 2.0 * ((1.0 - lags / hours) * share * decay**lags).sum()) / hours


def _hidden(share: float, decay: float, length: int, hours: int) -> float:
    """Return by how much the variance of a window's mean exceeds what blocks of a day, about their own mean, show."""
    shown = _mean_variance(share, decay, BLOCK) - _mean_variance(share, decay, hours)
    return _mean_variance(share, decay, length) * length / (BLOCK * shown)


def _autocorrelation(scores: FloatArray) -> tuple[float, float]:
    """Return share and decay of the autocorrelation of one input's scores, shape (n_hours, n_levels).

    The hours of the day have their own means, which whole days do not feel. What the mean of few hours takes away from
    the correlation is given back, since it depends on the correlation, in some rounds.
    """
    hours = len(scores) // BLOCK * BLOCK
    days = (scores[len(scores) - hours :] - scores.mean(axis=0)).reshape(-1, BLOCK, scores.shape[1])
    rest = (days - days.mean(axis=0)).reshape(hours, -1)
    variance = float((rest**2).mean())
    if variance <= 0.0:
        return 0.0, 0.0
    seen = np.array([float((rest[lag:] * rest[:-lag]).mean()) for lag in LAGS]) / variance
    share = decay = 0.0
    for _ in range(_ROUNDS):
        lost = min(_mean_variance(share, decay, hours), _MOST_LOST)
        corrected = seen * (1.0 - lost) + lost
        if corrected[0] <= 2.0 / np.sqrt(hours):
            return 0.0, 0.0
        share, decay = _fitted(corrected)
    return share, decay


def _fitted(correlations: FloatArray) -> tuple[float, float]:
    """Return share and decay from correlations at `LAGS`, by weighted least squares of their logarithms."""
    count = (
        int(np.argmin(correlations > _LEAST_CORRELATION))
        if (correlations <= _LEAST_CORRELATION).any()
        else len(correlations)
    )
    if count < 2:  # noqa: PLR2004 - one point shows no decay
        share = min(2.0 * float(correlations[0]), 1.0)
        return share, float(correlations[0]) / share
    lags, logs, weights = np.array(LAGS[:count], np.float64), np.log(correlations[:count]), correlations[:count] ** 2
    weights = weights / weights.sum()
    middle, height = float(weights @ lags), float(weights @ logs)
    slope = float((weights * (lags - middle)) @ (logs - height) / (weights @ (lags - middle) ** 2))
    decay = float(np.clip(np.exp(slope), 0.0, _MOST_DECAY))
    return float(np.clip(np.exp(height - slope * middle), 0.0, 1.0)), decay
