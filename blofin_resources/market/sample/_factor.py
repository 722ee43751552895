"""The common factor of the synthetic exchange by the hour: what all its symbols share, put together from its minutes.

Belongs here: sums over an hour of the factor that `_process` moves minute by minute. Does not belong here: any symbol's
own moves (`_process` for symbols with minutes, `_seats` for those with hours alone).

The factor depends on no symbol, so a symbol that is made by the hour moves with the same market as one that is made by
the minute, and the factor is walked once for all of them.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from blofin_resources.market.sample._listing import MINUTES_A_DAY
from blofin_resources.market.sample._process import (
    FRIDAY,
    JUMP_CAP,
    JUMP_SIZE,
    MARKET_JUMPS,
    MARKET_SD,
    TREND_DRIFT,
    WEEKEND,
    Floats,
    State,
    World,
    five_minutely,
    hourly,
)
from blofin_resources.market.sample._random import draw, normal, uniform
from features.jit import kept


class Column(NamedTuple):
    """Where the numbers of an hour are in a row of `walk_factor`.

    `shock` the sum of the factor's 1-minute returns before compensation, Gaussian given `variance`, which is the sum of
    their variances; `jump` and `jump_variance` the same of its jumps; `trend` the drift that regimes give to it in the
    plain market; `activity` its variance a minute at the hour's start, as a multiple of the usual one.
    """

    shock: int = 0
    variance: int = 1
    jump: int = 2
    jump_variance: int = 3
    trend: int = 4
    activity: int = 5


COLUMN: Final = Column()
WIDTH: Final = len(COLUMN)


@kept(nogil=True)
def walk_factor(s: State, w: World, first: int, out: Floats) -> None:
    """Move the factor's state `s` in place over as many hours as `out` has rows, and write their sums.

    Parameters
    ----------
    s : record of dtype STATE
        The state at the start of hour `first`; only what belongs to the market is used.
    w : World
        Constants of any symbol of the market, variant `NULL`.
    first : int
        Hours since the epoch.
    out : ndarray of shape (hours, 6)
        Receives the columns of `Column`.
    """
    for i in range(out.shape[0]):
        out[i] = 0.0
        for minute in range(60 * (first + i), 60 * (first + i + 1)):
            if minute % 60 == 0:
                hourly(s, w, minute)
            if minute % 5 == 0:
                five_minutely(s, w, minute)
            if minute % 60 == 0:
                out[i, COLUMN.activity] = s.market_variance / MARKET_SD**2
            weekday = (minute // MINUTES_A_DAY + 2) % 7
            season = w.season[minute % MINUTES_A_DAY] * (WEEKEND if weekday > FRIDAY else 1.0)
            mix = draw(w.market_mix, minute)
            variance = s.market_variance * season * w.tails[mix & np.uint64(255)]
            out[i, COLUMN.shock] += math.sqrt(variance) * normal(draw(w.market_return, minute))
            out[i, COLUMN.variance] += variance
            if uniform(mix) < MARKET_JUMPS:
                sd = min(JUMP_SIZE * math.sqrt(s.market_variance * season), JUMP_CAP)
                out[i, COLUMN.jump] += sd * normal(draw(w.market_jump, minute))
                out[i, COLUMN.jump_variance] += sd * sd
            if s.regime == 1.0:
                out[i, COLUMN.trend] += s.direction * TREND_DRIFT * math.sqrt(s.market_variance)
