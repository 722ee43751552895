"""From a minute's return to its bar: open, high, low, close and volume.

Belongs here: the path inside a minute. Does not belong here: the minute's return and variance (`_process`).

The return is drawn first, the path after it: a Brownian bridge of 60 sub-steps between the minute's two ends, with
the extreme inside each sub-step drawn from its exact distribution. This is the one place where a bridge is sound. The
variance is constant within the minute and fixed before it begins, and for a Brownian motion of constant variance,
drawing the end first and the path given the end gives the same joint distribution of open, high, low and close as
drawing it forward. Bars are seen only once closed, so that nobody meets the path while its end is pinned. Since the
extremes are those of a continuous path, a stop or target that fills at its exact level is worth what it costs: the
path passes through the level, and the rest of it is a fair game.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from blofin_resources.market.sample._listing import LOTS_A_CONTRACT
from blofin_resources.market.sample._process import Floats, World
from blofin_resources.market.sample._random import draw, normal, rough_normal, uniform
from features.jit import kept

SUB_STEPS: Final = 60
_DRAWS: Final = 256
_REACH: Final = 4.0
VOLUME_POWER: Final = 0.6
_VOLUME_NOISE: Final = 0.55


@kept()
def _bridge(path: Floats, stream: np.uint64, minute: int, change: float, sub_sd: float) -> float:
    """Fill `path` of shape (61,) with log prices relative to the opening; return the mean of its sub-steps' ends."""
    total = 0.0
    path[0] = 0.0
    for k in range(SUB_STEPS):
        total += rough_normal(draw(stream, _DRAWS * minute + k))
        path[k + 1] = total * sub_sd
    excess = (change - path[SUB_STEPS]) / SUB_STEPS
    mean = 0.0
    for k in range(1, SUB_STEPS + 1):
        path[k] += k * excess
        mean += path[k]
    path[SUB_STEPS] = change
    return mean / SUB_STEPS


@kept()
def _extremes(path: Floats, stream: np.uint64, minute: int, sub_sd: float) -> tuple[float, float]:
    """Return the lowest and the highest point of the continuous path through `path`.

    Between neighbours a and b, the maximum of a Brownian bridge of variance s² exceeds m with probability
    exp(-2 (m - a)(m - b) / s²), which is inverted at a uniform number. Sub-steps further than four standard
    deviations from the record so far cannot matter and are passed over.
    """
    high = path.max()
    low = path.min()
    top = high - _REACH * sub_sd
    bottom = low + _REACH * sub_sd
    for k in range(SUB_STEPS):
        a, b = path[k], path[k + 1]
        gap = (a - b) * (a - b)
        if max(a, b) > top:
            u = uniform(draw(stream, _DRAWS * minute + 64 + k))
            high = max(high, 0.5 * (a + b + math.sqrt(gap - 2.0 * sub_sd * sub_sd * math.log(u))))
        if min(a, b) < bottom:
            u = uniform(draw(stream, _DRAWS * minute + 128 + k))
            low = min(low, 0.5 * (a + b - math.sqrt(gap - 2.0 * sub_sd * sub_sd * math.log(u))))
    return low, high


class Prints(NamedTuple):
    """What the bars of a symbol depend on beside its moves: keys of its paths and volumes, base units in a contract."""

    path: np.uint64
    volume: np.uint64
    contract: float


@kept(nogil=True)
def expect(walked: Floats, w: World, out: Floats) -> None:
    """Write the turnover to expect in each of the minutes walked, in USDT: it follows their variance."""
    for i in range(walked.shape[0]):
        out[i] = w.turnover * (walked[i, 2] / w.usual_variance) ** VOLUME_POWER


@kept(nogil=True)
def bars(walked: Floats, expected: Floats, first: int, w: Prints, span: int, out: Floats) -> None:
    """Write the bars of the steps walked, which are minutes or hours.

    Parameters
    ----------
    walked : ndarray of shape (steps, 4) or wider
        As `_process.walk` and `_seats.walk_seat` write it.
    expected : ndarray of shape (steps,)
        Turnover to expect in each step, in USDT.
    first : int
        The first step, counted from the epoch.
    w : Prints
        The symbol's constants.
    span : int
        How many steps make the bar that is wanted; 1 where these bars themselves are. A step that cannot hold the high
        or the low of its span gets those of its sub-steps' ends, since to work out its own is most of the work.
    out : ndarray of shape (7, steps)
        Receives open, high, low, close in USDT, volume in base units, in USDT and in contracts.
    """
    path = np.empty(SUB_STEPS + 1)
    top, bottom = 0.0, math.inf
    for i in range(walked.shape[0]):
        step = first + i
        if step % span == 0:
            top, bottom = 0.0, math.inf
        opening, change, variance, scale = walked[i, 0], walked[i, 1], walked[i, 2], walked[i, 3]
        sub_sd = math.sqrt(variance / SUB_STEPS)
        price = math.exp(opening)
        mean = price * math.exp(_bridge(path, w.path, step, change, sub_sd))
        low, high = path.min(), path.max()
        inside = round(price * math.exp(low) * scale) / scale <= mean <= round(price * math.exp(high) * scale) / scale
        margin = _REACH * sub_sd
        if not inside or price * math.exp(high + margin) > top or price * math.exp(low - margin) < bottom:
            low, high = _extremes(path, w.path, step, sub_sd)
        out[0, i] = round(price * scale) / scale
        out[1, i] = round(price * math.exp(high) * scale) / scale
        out[2, i] = round(price * math.exp(low) * scale) / scale
        out[3, i] = round(math.exp(opening + change) * scale) / scale
        top, bottom = max(top, out[1, i]), min(bottom, out[2, i])
        average = min(max(mean, out[2, i]), out[1, i])
        noise = _VOLUME_NOISE * normal(draw(w.volume, step)) - 0.5 * _VOLUME_NOISE**2
        lots = max(round(expected[i] * math.exp(noise) / (average * w.contract) * LOTS_A_CONTRACT), 1.0)
        out[6, i] = lots / LOTS_A_CONTRACT
        out[4, i] = np.rint(out[6, i] * w.contract * 1e8) / 1e8  # `round` would end at 2^63
        out[5, i] = out[4, i] * average
