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
from typing import Final

import numpy as np
from numba import njit

from blofin_resources.market.sample._listing import LOTS_A_CONTRACT
from blofin_resources.market.sample._process import Floats, World
from blofin_resources.market.sample._random import draw, normal, rough_normal, uniform

SUB_STEPS: Final = 60
_DRAWS: Final = 256
_REACH: Final = 4.0
_VOLUME_POWER: Final = 0.6
_VOLUME_NOISE: Final = 0.55


@njit(cache=True)
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


@njit(cache=True)
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


@njit(cache=True, nogil=True)
def bars(walked: Floats, first: int, w: World, out: Floats) -> None:
    """Write the bars of the minutes walked.

    Parameters
    ----------
    walked : ndarray of shape (minutes, 4)
        As `_process.walk` writes it.
    first : int
        The first minute, counted from the epoch.
    w : World
        The symbol's constants.
    out : ndarray of shape (7, minutes)
        Receives open, high, low, close in USDT, volume in base units, in USDT and in contracts.
    """
    path = np.empty(SUB_STEPS + 1)
    for i in range(walked.shape[0]):
        minute = first + i
        opening, change, variance, scale = walked[i, 0], walked[i, 1], walked[i, 2], walked[i, 3]
        sub_sd = math.sqrt(variance / SUB_STEPS)
        mean = _bridge(path, w.path, minute, change, sub_sd)
        low, high = _extremes(path, w.path, minute, sub_sd)
        price = math.exp(opening)
        out[0, i] = round(price * scale) / scale
        out[1, i] = round(price * math.exp(high) * scale) / scale
        out[2, i] = round(price * math.exp(low) * scale) / scale
        out[3, i] = round(math.exp(opening + change) * scale) / scale
        average = min(max(price * math.exp(mean), out[2, i]), out[1, i])
        noise = _VOLUME_NOISE * normal(draw(w.volume, minute)) - 0.5 * _VOLUME_NOISE**2
        traded = w.turnover * (variance / w.usual_variance) ** _VOLUME_POWER * math.exp(noise)
        lots = max(round(traded / (average * w.contract) * LOTS_A_CONTRACT), 1.0)
        out[6, i] = lots / LOTS_A_CONTRACT
        out[4, i] = round(out[6, i] * w.contract * 1e8) / 1e8
        out[5, i] = out[4, i] * average
