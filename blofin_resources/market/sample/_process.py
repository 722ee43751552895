"""How synthetic prices move: one causal recursion over minutes.

Belongs here: volatility, regimes, jumps, funding, the planted edges, and the state that a day begins with. Does not
belong here: the path inside a minute (`_path`), random numbers (`_random`), frames (`market`).

Every minute first fixes its variance and drift from the past alone, then draws a normal return with these. Heavy
tails come from mixing variances, so that *given the past and the mixing level* everything is Gaussian and
E[exp(return)] = exp(drift) holds exactly, jumps included. No step knows a later one: there is nothing pinned ahead of
the present, and what a day holds so far cannot depend on its rest.

Structure by variant:

- `plain`: a weak drift in trending regimes and a pull of the level towards its starting price with a half-life of
  300 days, which keeps prices plausible over the years.
- `null`: no drift. At each payment of funding the price steps by 1 / (1 - rate), which is what a long pays:
  total return is a martingale, also over the last minute before a payment.
- `edge`: as `null`, and exactly three planted effects, see `REVERSAL`, `SLOW` and `ECHO`.
"""

import math
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from blofin_resources.market.sample._listing import FUNDING_MINUTES, LISTINGS, MINUTES_A_DAY
from blofin_resources.market.sample._random import draw, key, normal, tail_table, uniform
from features.jit import kept

Floats = npt.NDArray[np.float64]
States = npt.NDArray[np.void]

PLAIN: Final = 0
NULL: Final = 1
EDGE: Final = 2

MARKET_SD: Final = 4.4e-4
"""Standard deviation of the common factor's 1-minute returns at ordinary volatility."""

TAIL_DEGREES: Final = 4.0

MOVE_MINUTES: Final = 30
REVERSAL_MINUTES: Final = 60
REVERSAL_PER_MINUTE: Final = 1e-4
REVERSAL_SIGMAS: Final = 2.0
"""The reversal: when the last 30 minutes' log return exceeds 2 sigma, the next 60 minutes drift the other way by
1 bp a minute, 60 bp in all. Sigma is sqrt(30) times the root of an exponential mean (half-life 720 minutes) of
squared 1-minute log returns of closes. While one reversal runs, none begins."""

SLOW_HOURS: Final = 24
SLOW_LAG_HOURS: Final = 2
SLOW_SIGMAS: Final = 1.0
SLOW_STRENGTH: Final = 0.15
"""The slow edge, for 60m bars: where the 24-hour log return, as it stood two hours before a full hour, is beyond 1
sigma (the same sigma, scaled to 1,440 minutes), that hour drifts the same way by 0.15 sigma of an hour: some 5 bp
for BTC-USDT, 10 bp for ETH-USDT. The lag keeps it clear of the reversal."""

ECHO_MINUTES: Final = 5
ECHO_PER_MINUTE: Final = 1e-4
"""The decoy: in the first five minutes of every hour the price drifts 5 bp in the direction of the hour before. It
pays before costs, and never after 12 bp of fees and 4 bp of slippage for a round trip."""


class State(Protocol):
    """All that the future depends on, at the start of a minute. Prices and volatilities are logarithms.

    `price` at the last close; `market_slow`, `market_mid`, `market_fast`, `own_mid`, `own_fast` the volatility of
    factor and symbol by time scale; `regime` 0 ranging, 1 trending, 2 volatile; `direction` of the trend; `trend` the
    decayed sum of 1-minute returns and `square` the exponential mean of their squares, half-lives of 12 hours;
    `scale` 1 / tick size of the day; `market_variance`, `own_variance` of a minute before season and tails;
    `reversal_left` (minutes), `reversal_side`, `slow_drift`, `echo_drift` the edges under way; `closes` of the last
    minutes and `hours`, prices at the last full hours, each by its number modulo its length.
    """

    price: float
    market_slow: float
    market_mid: float
    market_fast: float
    own_mid: float
    own_fast: float
    regime: float
    direction: float
    trend: float
    square: float
    scale: float
    market_variance: float
    own_variance: float
    reversal_left: float
    reversal_side: float
    slow_drift: float
    echo_drift: float
    closes: Floats
    hours: Floats


_HOURS_KEPT: Final = SLOW_HOURS + SLOW_LAG_HOURS + 1
_LENGTHS: Final = {"closes": (MOVE_MINUTES + 1,), "hours": (_HOURS_KEPT,)}
STATE: Final = np.dtype([(field, "f8", _LENGTHS.get(field, ())) for field in State.__annotations__])
"""`State` as a record."""

_HALF_DAY_DECAY: Final = 0.5 ** (1.0 / 720.0)
PULL: Final = math.log(2.0) / (300.0 * MINUTES_A_DAY)
TREND_DRIFT: Final = 0.012
_SLOW_DECAY: Final = 0.5 ** (1.0 / (10 * 24))
_MID_DECAY: Final = 0.5 ** (1.0 / 10)
_FAST_DECAY: Final = 0.5 ** (5.0 / 45.0)
_SLOW_STEP: Final = 0.30 * math.sqrt(1.0 - _SLOW_DECAY**2)
_MID_STEP: Final = 0.28 * math.sqrt(1.0 - _MID_DECAY**2)
_FAST_STEP: Final = 0.25 * math.sqrt(1.0 - _FAST_DECAY**2)
_SPREAD: Final = 0.30**2 + 0.28**2 + 0.25**2
_REGIME_VARIANCE: Final = (0.7, 1.0, 3.0)
_LOG_CAP: Final = 2.5
JUMP_SIZE: Final = 8.0
JUMP_CAP: Final = 0.02
MARKET_JUMPS: Final = 1.0 / 5760.0
OWN_JUMPS: Final = 1.0 / 2880.0
WEEKEND: Final = 0.6
FRIDAY: Final = 4
_HALF: Final = 0.5


class World(NamedTuple):
    """The constants of one symbol in one synthetic market, as the compiled recursion takes them.

    `level` log price at the epoch; `own_sd` of the symbol's own 1-minute returns; unsigned integers are keys of
    streams of random numbers; `tails` and `season` multiply variances; at `usual_variance` a minute, `turnover` USDT
    change hands; `contract` base units in a contract.
    """

    variant: int
    beta: float
    own_sd: float
    level: float
    market_return: np.uint64
    market_mix: np.uint64
    market_volatility: np.uint64
    market_regime: np.uint64
    market_jump: np.uint64
    own_return: np.uint64
    own_mix: np.uint64
    own_volatility: np.uint64
    own_jump: np.uint64
    own_funding: np.uint64
    path: np.uint64
    volume: np.uint64
    tails: Floats
    season: Floats
    usual_variance: float
    turnover: float
    contract: float


def world(symbol: str, seed: int, variant: int) -> World:
    """Return the constants of `symbol` in one synthetic market.

    Parameters
    ----------
    symbol : str
        A listed symbol.
    seed : int
        Seed of the market. The streams of the common factor are the same for all symbols.
    variant : int
        One of `PLAIN`, `NULL`, `EDGE`.

    Returns
    -------
    World
        Constants and random keys.
    """
    listing = LISTINGS[symbol]
    return World(
        variant=variant,
        beta=listing.beta,
        own_sd=listing.own * 1e-4,
        level=math.log(listing.price),
        market_return=key(seed, "market", "return"),
        market_mix=key(seed, "market", "mix"),
        market_volatility=key(seed, "market", "volatility"),
        market_regime=key(seed, "market", "regime"),
        market_jump=key(seed, "market", "jump"),
        own_return=key(seed, symbol, "return"),
        own_mix=key(seed, symbol, "mix"),
        own_volatility=key(seed, symbol, "volatility"),
        own_jump=key(seed, symbol, "jump"),
        own_funding=key(seed, symbol, "funding"),
        path=key(seed, symbol, "path"),
        volume=key(seed, symbol, "volume"),
        tails=tail_table(TAIL_DEGREES),
        season=season(),
        usual_variance=(listing.beta * MARKET_SD) ** 2 + (listing.own * 1e-4) ** 2,
        turnover=listing.turnover,
        contract=listing.contract,
    )


def season() -> Floats:
    """Return the variance multiplier of each minute of the UTC day, with mean one: busy at 00:00 and 14:00."""
    hours = np.arange(MINUTES_A_DAY) / 60.0
    midnight = np.minimum(hours, 24.0 - hours)
    sd = 0.85 + 0.45 * np.exp(-0.5 * (midnight / 1.6) ** 2) + 0.55 * np.exp(-0.5 * ((hours - 14.3) / 1.9) ** 2)
    sd += 0.12 * np.exp(-0.5 * ((hours - 19.0) / 3.0) ** 2)
    variance: Floats = sd**2 / np.mean(sd**2)
    return variance


def first_state(constants: World) -> States:
    """Return the state at the epoch, as an array of one record."""
    state = np.zeros(1, STATE)
    state["price"] = constants.level
    state["direction"] = 1.0
    state["square"] = constants.usual_variance
    state["closes"] = constants.level
    state["hours"] = constants.level
    return state


@kept()
def hourly(s: State, w: World, minute: int) -> None:
    """Move volatility and regime by an hour, and set what the edges read at a full hour."""
    hour = minute // 60
    s.market_slow = _SLOW_DECAY * s.market_slow + _SLOW_STEP * normal(draw(w.market_volatility, 8 * minute))
    s.market_mid = _MID_DECAY * s.market_mid + _MID_STEP * normal(draw(w.market_volatility, 8 * minute + 1))
    s.own_mid = _MID_DECAY * s.own_mid + _MID_STEP * normal(draw(w.own_volatility, 8 * minute + 1))
    u = uniform(draw(w.market_regime, 2 * hour))
    if s.regime == 0.0:
        s.regime = 1.0 if u < 1.0 / 40.0 else (2.0 if u > 1.0 - 1.0 / 120.0 else 0.0)
    elif s.regime == 1.0:
        s.regime = 0.0 if u < 1.0 / 36.0 else (2.0 if u > 1.0 - 1.0 / 120.0 else 1.0)
    else:
        s.regime = 0.0 if u < 1.0 / 14.0 else (1.0 if u > 1.0 - 1.0 / 28.0 else 2.0)
    if s.regime != 1.0:
        s.direction = 1.0 if uniform(draw(w.market_regime, 2 * hour + 1)) < _HALF else -1.0
    s.slow_drift = 0.0
    s.echo_drift = 0.0
    if w.variant == EDGE and hour >= _HOURS_KEPT:
        move = s.hours[(hour - SLOW_LAG_HOURS) % _HOURS_KEPT] - s.hours[(hour + 1) % _HOURS_KEPT]
        if abs(move) > SLOW_SIGMAS * math.sqrt(60.0 * SLOW_HOURS * s.square):
            s.slow_drift = math.copysign(SLOW_STRENGTH * math.sqrt(s.square / 60.0), move)
        s.echo_drift = math.copysign(ECHO_PER_MINUTE, s.price - s.hours[(hour - 1) % _HOURS_KEPT])
    s.hours[hour % _HOURS_KEPT] = s.price


@kept()
def five_minutely(s: State, w: World, minute: int) -> None:
    """Move the fast volatility by five minutes and fix the variances that hold until the next step."""
    s.market_fast = _FAST_DECAY * s.market_fast + _FAST_STEP * normal(draw(w.market_volatility, 8 * minute + 2))
    s.own_fast = _FAST_DECAY * s.own_fast + _FAST_STEP * normal(draw(w.own_volatility, 8 * minute + 2))
    shared = s.market_slow + s.market_mid + s.market_fast - _SPREAD
    own = 0.7 * shared + s.own_mid + s.own_fast
    regime = _REGIME_VARIANCE[int(s.regime)]
    s.market_variance = MARKET_SD**2 * math.exp(2.0 * min(shared, _LOG_CAP)) * regime
    s.own_variance = w.own_sd**2 * math.exp(2.0 * min(own, _LOG_CAP)) * regime


@kept()
def _funding_rate(s: State, w: World, minute: int) -> float:
    """Return the rate paid at the opening of this minute: it follows the trend of the hours before."""
    rate = 4e-5 + 4e-3 * s.trend + 2e-5 * normal(draw(w.own_funding, minute))
    return round(min(max(rate, -3e-3), 3e-3) * 1e8) / 1e8


@kept()
def _jumps(s: State, w: World, minute: int, season: float) -> float:
    """Return the log price step at the opening of this minute: zero but for a few minutes a week.

    A jump stands between two bars, where a stop fills at the open, not inside one, where it would fill at its level.
    """
    step = 0.0
    if uniform(draw(w.market_mix, minute)) < MARKET_JUMPS:
        sd = w.beta * min(JUMP_SIZE * math.sqrt(s.market_variance * season), JUMP_CAP)
        step += sd * normal(draw(w.market_jump, minute)) - 0.5 * sd * sd
    if uniform(draw(w.own_mix, minute)) < OWN_JUMPS:
        sd = min(JUMP_SIZE * math.sqrt(s.own_variance * season), JUMP_CAP)
        step += sd * normal(draw(w.own_jump, minute)) - 0.5 * sd * sd
    return step


@kept()
def _drift(s: State, w: World, minute: int) -> float:
    """Return the log drift of this minute, from the closes before it."""
    if w.variant == PLAIN:
        trend = 0.0
        if s.regime == 1.0:
            trend = s.direction * TREND_DRIFT * math.sqrt(s.market_variance) * w.beta
        return trend - PULL * (s.price - w.level)
    if w.variant == NULL:
        return 0.0
    if s.reversal_left == 0.0 and minute > MINUTES_A_DAY:
        move = s.price - s.closes[minute % (MOVE_MINUTES + 1)]
        if abs(move) > REVERSAL_SIGMAS * math.sqrt(MOVE_MINUTES * s.square):
            s.reversal_left = REVERSAL_MINUTES
            s.reversal_side = -math.copysign(1.0, move)
    drift = s.slow_drift
    if s.reversal_left > 0.0:
        s.reversal_left -= 1.0
        drift += s.reversal_side * REVERSAL_PER_MINUTE
    if minute % 60 < ECHO_MINUTES:
        drift += s.echo_drift
    return drift


@kept(nogil=True)
def walk(s: State, w: World, first: int, out: Floats, rates: Floats) -> None:
    """Move the state `s` in place over as many minutes as `out` has rows, and write down what happened.

    Parameters
    ----------
    s : record of dtype STATE
        The state at the start of minute `first`.
    w : World
        The symbol's constants.
    first : int
        Minutes since the epoch.
    out : ndarray of shape (minutes, 4)
        Receives of each minute: log price at its opening, its log return, its variance, 1 / tick size.
    rates : ndarray of shape (ceil(minutes / 480),) or longer
        Receives the funding rates paid at the opening of a minute divisible by 480.
    """
    paid = 0
    for i in range(out.shape[0]):
        minute = first + i
        before = s.price
        if minute % MINUTES_A_DAY == 0:
            s.scale = 10.0 ** min(max(5.0 - math.floor(s.price / math.log(10.0)), 0.0), 15.0)
        if minute % 60 == 0:
            hourly(s, w, minute)
        if minute % 5 == 0:
            five_minutely(s, w, minute)
        weekday = (minute // MINUTES_A_DAY + 2) % 7
        season = w.season[minute % MINUTES_A_DAY] * (WEEKEND if weekday > FRIDAY else 1.0)
        drift = _drift(s, w, minute)
        if minute % FUNDING_MINUTES == 0:
            rates[paid] = _funding_rate(s, w, minute)
            if w.variant != PLAIN:
                s.price -= math.log1p(-rates[paid])
            paid += 1
        opening = s.price + _jumps(s, w, minute, season)
        market_variance = s.market_variance * season * w.tails[draw(w.market_mix, minute) & np.uint64(255)]
        own_variance = s.own_variance * season * w.tails[draw(w.own_mix, minute) & np.uint64(255)]
        variance = w.beta * w.beta * market_variance + own_variance
        change = w.beta * math.sqrt(market_variance) * normal(draw(w.market_return, minute))
        change += math.sqrt(own_variance) * normal(draw(w.own_return, minute)) + drift - 0.5 * variance
        s.price = opening + change
        total = s.price - before
        s.trend = _HALF_DAY_DECAY * s.trend + total
        s.square = _HALF_DAY_DECAY * s.square + (1.0 - _HALF_DAY_DECAY) * total * total
        s.closes[minute % (MOVE_MINUTES + 1)] = s.price
        out[i, 0] = opening
        out[i, 1] = change
        out[i, 2] = variance
        out[i, 3] = s.scale


@kept(nogil=True)
def anchors(states: States, w: World, day: int, rates: Floats) -> None:
    """Compute the states at the start of the days after `day`, and their funding rates, in place.

    Parameters
    ----------
    states : ndarray of shape (n_days + 1,)
        Records of the state. `states[0]` is that of `day`; the others are written.
    w : World
        Constants of the symbol.
    day : int
        Days since the market's epoch.
    rates : ndarray of float64, shape (n_days, 3)
        Receives the funding rates of each day.
    """
    unread = np.empty((MINUTES_A_DAY, 4))
    for i in range(states.shape[0] - 1):
        states[i + 1] = states[i]
        walk(states[i + 1], w, (day + i) * MINUTES_A_DAY, unread, rates[i])
