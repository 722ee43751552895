"""How the universe's prices move: one causal recursion over hours for each seat of the exchange.

Belongs here: lives of symbols, their volatility, volume, crowding and funding, the planted cross-sectional edges, and
the state that a block of hours begins with. Does not belong here: the common factor (`_factor`), the path inside an
hour (`_path`), frames (`universe`).

The exchange has a fixed number of seats. A seat holds one symbol after another: a symbol is listed, lives, is
delisted, and after a pause the seat lists a new one under a new name. Seats share the common factor and nothing else,
so each is walked by itself. As in `_process`, an hour fixes its variance and drift from the past alone, and
E[exp(return)] = exp(drift) holds exactly given the mixing level. Also the end of a life follows from the past: a symbol
that lost nine tenths of its highest price is soon delisted, with a week's notice.

Structure by variant:

- `null`: no drift. At each payment of funding the price steps by 1 / (1 - rate), which is what a long pays: total
  return is a martingale, so neither momentum nor carry nor anything else pays, before costs or after.
- `edge`: at each payment the price steps by 1 / (1 - `BASE_RATE`) only, so differences in funding are kept by who
  receives them; and the drifts `MOMENTUM`, `CARRY` and `DECOY`.
- `plain`: no step at payments, the factor's weak trends, a pull of the level towards the price of the listing with a
  half-life of 300 days, and the drifts of `edge` at `PLAIN_SHARE` of their strength.
"""

import math
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from blofin_resources.market.sample._factor import COLUMN
from blofin_resources.market.sample._path import VOLUME_POWER
from blofin_resources.market.sample._process import (
    EDGE,
    FRIDAY,
    JUMP_CAP,
    JUMP_SIZE,
    MARKET_SD,
    NULL,
    OWN_JUMPS,
    PLAIN,
    PULL,
    TAIL_DEGREES,
    WEEKEND,
    Floats,
    States,
    season,
)
from blofin_resources.market.sample._random import draw, key, normal, tail_table, uniform
from features.jit import kept

SEATS: Final = 36
FOUNDERS: Final = 33
"""Seats that have a symbol from the epoch on; the others list their first one within a year."""

FUNDING_HOURS: Final = 8

MOMENTUM_HOURS: Final = 72
MOMENTUM: Final = 0.0185
"""The momentum edge. m is the symbol's own log return of the last 72 hours (what is left of its return without beta
times the common factor) over sqrt(72) sigma, cut at plus and minus 2. Each hour drifts by `MOMENTUM` m sigma. Sigma is
the root of an exponential mean (half-life 168 hours) of its squared own 1-hour log returns."""

CARRY_PAYMENTS: Final = 21
CARRY_SIZE: Final = 0.8e-4
CARRY: Final = 0.007
"""The carry edge. c is the mean of the last 21 funding rates (7 days) less `BASE_RATE`, over 0.8 bp, cut at plus and
minus 2. Each hour drifts by -`CARRY` c sigma: what is crowded falls, and pays funding meanwhile."""

DECOY_HOURS: Final = 8
DECOY: Final = 0.029
"""The decoy, a reversal: d is as m, of the last 8 hours. Each hour drifts by -`DECOY` d sigma. It pays before costs,
and not after 8 bp a side for the turnover that it takes."""

TILT: Final = 2.0
"""Where m, c and d are cut."""

PLAIN_SHARE: Final = 0.3

BASE_RATE: Final = 0.5e-4
CROWD_RATE: Final = 0.9e-4
TREND_RATE: Final = 0.35e-4
NOISE_RATE: Final = 0.5e-4
MOST_RATE: Final = 3e-3
"""A funding rate is `BASE_RATE` + `CROWD_RATE` x crowding + `TREND_RATE` x m + `NOISE_RATE` x noise, at most
`MOST_RATE` either way. Crowding, how many more want to be long than short, is an AR(1) of variance one with a
half-life of 5 days."""

NOTICE_HOURS: Final = 7 * 24
"""A delisting is announced a week ahead."""

_YOUNG_DAYS: Final = 60
_LOST: Final = math.log(10.0)
_FAILING: Final = 1.0 / 30.0
_LEAVING: Final = 1.0 / 1500.0
"""Chances a day that a delisting is announced, after a loss of nine tenths and otherwise; none in the first 60 days."""

_PAUSE_DAYS: Final = 40
_FIRST_DAYS: Final = 365

_SQUARE_DECAY: Final = 0.5 ** (1.0 / 168.0)
_SLOW_DECAY: Final = 0.5 ** (1.0 / (10 * 24))
_MID_DECAY: Final = 0.5 ** (1.0 / 10)
_SLOW_SD: Final = 0.30
_MID_SD: Final = 0.30
_SLOW_STEP: Final = _SLOW_SD * math.sqrt(1.0 - _SLOW_DECAY**2)
_MID_STEP: Final = _MID_SD * math.sqrt(1.0 - _MID_DECAY**2)
_SPREAD: Final = _SLOW_SD**2 + _MID_SD**2
_SHARED: Final = 0.7
_MOST_ACTIVE: Final = 30.0
_LIQUIDITY_DECAY: Final = 0.5 ** (1.0 / 45.0)
_LIQUIDITY_SD: Final = 0.8
_LIQUIDITY_STEP: Final = _LIQUIDITY_SD * math.sqrt(1.0 - _LIQUIDITY_DECAY**2)
_CROWD_DECAY: Final = 0.5 ** (1.0 / 15.0)
_CROWD_STEP: Final = math.sqrt(1.0 - _CROWD_DECAY**2)

_RING: Final = MOMENTUM_HOURS + 1


class Seat(Protocol):
    """All that a seat's future depends on, at the start of an hour. Prices and volatilities are logarithms.

    `generation` how many symbols it had before the present one, -1 before the first; `listed` the hour in which the
    present symbol was listed, -1 while the seat is empty; `until` the hour of its delisting, 0 where none is announced;
    `opens` when an empty seat lists its next; `beta`, `own_sd` a minute, `level` at the listing, `turnover` in USDT a
    minute the symbol's character; `price` at the last close; `peak` the highest at a midnight; `own` the sum of its own
    log returns, `square` the exponential mean of their squares; `slow`, `mid` its volatility by time scale; `liquidity`
    of its volume; `crowd` its crowding; `carry` mean rate of late; `scale` 1 / tick size of the day; `closes` the last
    values of `own` by hour modulo their number, `rates` the last rates by payment modulo theirs.
    """

    generation: float
    listed: float
    until: float
    opens: float
    beta: float
    own_sd: float
    level: float
    turnover: float
    price: float
    peak: float
    own: float
    square: float
    slow: float
    mid: float
    liquidity: float
    crowd: float
    carry: float
    scale: float
    closes: Floats
    rates: Floats


_LENGTHS: Final = {"closes": (_RING,), "rates": (CARRY_PAYMENTS,)}
SEAT: Final = np.dtype([(field, "f8", _LENGTHS.get(field, ())) for field in Seat.__annotations__])
"""`Seat` as a record."""

Lives = npt.NDArray[np.int64]
"""Hours of listing, of the announcement of the delisting and of the delisting by generation; -1 where not yet."""


CHARACTER: Final = key("universe", "character")
"""The stream of the symbols' characters, the same in every market, whatever its seed."""


class Exchange(NamedTuple):
    """The constants of one synthetic universe, as the compiled recursion takes them.

    `character` is `CHARACTER`; `momentum`, `carry` and `decoy` are the strengths of the drifts; other unsigned integers
    are keys of streams of random numbers, of which each symbol has its own; `tails` and `season` multiply variances,
    `season` by hour of the day.
    """

    variant: int
    character: np.uint64
    momentum: float
    carry: float
    decoy: float
    life: np.uint64
    own_return: np.uint64
    own_mix: np.uint64
    own_volatility: np.uint64
    own_jump: np.uint64
    liquidity: np.uint64
    crowd: np.uint64
    funding: np.uint64
    tails: Floats
    season: Floats


def exchange(seed: int, variant: int) -> Exchange:
    """Return the constants of the universe of one synthetic market."""
    share = {PLAIN: PLAIN_SHARE, NULL: 0.0, EDGE: 1.0}[variant]
    return Exchange(
        variant=variant,
        character=CHARACTER,
        momentum=share * MOMENTUM,
        carry=share * CARRY,
        decoy=share * DECOY,
        life=key(seed, "universe", "life"),
        own_return=key(seed, "universe", "return"),
        own_mix=key(seed, "universe", "mix"),
        own_volatility=key(seed, "universe", "volatility"),
        own_jump=key(seed, "universe", "jump"),
        liquidity=key(seed, "universe", "liquidity"),
        crowd=key(seed, "universe", "crowd"),
        funding=key(seed, "universe", "funding"),
        tails=tail_table(TAIL_DEGREES),
        season=season().reshape(24, 60).mean(axis=1),
    )


def empty_seat(number: int, constants: Exchange) -> States:
    """Return the state of a seat at the epoch, as an array of one record."""
    state = np.zeros(1, SEAT)
    state["generation"] = -1.0
    state["listed"] = -1.0
    if number >= FOUNDERS:
        state["opens"] = 24.0 * math.floor(_FIRST_DAYS * uniform(np.uint64(draw(constants.life, number))))
    return state


@kept()
def take_character(s: Seat, stream: np.uint64, symbol: int) -> None:
    """Give a seat the character of a symbol.

    Parameters
    ----------
    s : record of dtype SEAT
        Its `beta`, `own_sd`, `level` and `turnover` are written.
    stream : np.uint64
        `CHARACTER`.
    symbol : int
        Number of the symbol.
    """
    stream = draw(stream, symbol)
    s.beta = 1.0 + 1.2 * uniform(draw(stream, 0))
    s.own_sd = 7.0e-4 * math.exp(min(max(0.25 * normal(draw(stream, 1)), -0.5), 0.5))
    s.level = math.log(10.0) * (4.0 * uniform(draw(stream, 2)) - 2.0)
    s.turnover = 2.5e5 * math.exp(min(max(normal(draw(stream, 3)), -2.0), 2.5))


@kept()
def _list(s: Seat, w: Exchange, number: int, hour: int) -> None:
    """Put the next symbol into an empty seat."""
    s.generation += 1.0
    symbol = int(s.generation) * SEATS + number
    take_character(s, w.character, symbol)
    s.listed = hour
    s.until = 0.0
    s.price = s.level
    s.peak = s.level
    s.own = 0.0
    s.square = 60.0 * s.own_sd**2
    s.slow = _SLOW_SD * normal(draw(draw(w.own_volatility, symbol), -1))
    s.mid = 0.0
    s.liquidity = _LIQUIDITY_SD * normal(draw(draw(w.liquidity, symbol), -1))
    s.crowd = normal(draw(draw(w.crowd, symbol), -1))
    s.carry = BASE_RATE
    s.closes[:] = 0.0
    s.rates[:] = BASE_RATE


@kept()
def _live(s: Seat, w: Exchange, number: int, hour: int, lives: Lives) -> None:
    """Move a seat's list of symbols at a midnight: a listing, an announcement, or a delisting."""
    if s.listed < 0.0:
        if hour >= s.opens:
            _list(s, w, number, hour)
            lives[int(s.generation), 0] = hour
        return
    generation = int(s.generation)
    chances = draw(w.life, generation * SEATS + number)
    if hour == s.until:
        lives[generation, 2] = hour
        s.listed = -1.0
        s.opens = hour + 24.0 * math.ceil(_PAUSE_DAYS * uniform(draw(chances, -1)))
    elif s.until == 0.0:
        s.peak = max(s.peak, s.price)
        chance = _FAILING if s.peak - s.price > _LOST else _LEAVING
        if hour >= s.listed + 24 * _YOUNG_DAYS and uniform(draw(chances, hour)) < chance:
            lives[generation, 1] = hour
            s.until = hour + NOTICE_HOURS


@kept()
def _tilt(value: float) -> float:
    return min(max(value, -TILT), TILT)


@kept()
def _momentum(s: Seat, hour: int, span: int) -> float:
    """Return the own return of the last `span` hours in standard deviations, cut."""
    return _tilt((s.own - s.closes[(hour - 1 - span) % _RING]) / math.sqrt(span * s.square))


@kept()
def _rate(s: Seat, w: Exchange, symbol: int, hour: int) -> float:
    """Move crowding by a payment and return the rate paid at the opening of this hour."""
    s.crowd = _CROWD_DECAY * s.crowd + _CROWD_STEP * normal(draw(draw(w.crowd, symbol), hour))
    rate = BASE_RATE + CROWD_RATE * s.crowd + TREND_RATE * _momentum(s, hour, MOMENTUM_HOURS)
    rate += NOISE_RATE * normal(draw(draw(w.funding, symbol), hour))
    rate = round(min(max(rate, -MOST_RATE), MOST_RATE) * 1e8) / 1e8
    s.rates[hour // FUNDING_HOURS % CARRY_PAYMENTS] = rate
    s.carry = s.rates.mean()
    return rate


@kept()
def _compensation(w: Exchange, rate: float) -> float:
    """Return the log price step at a payment."""
    if w.variant == NULL:
        return -math.log1p(-rate)
    return -math.log1p(-BASE_RATE) if w.variant == EDGE else 0.0


@kept()
def _own_variance(s: Seat, w: Exchange, symbol: int, hour: int, activity: float) -> float:
    """Move the symbol's volatility by an hour and return the variance of its own returns, a minute, before tails."""
    stream = draw(w.own_volatility, symbol)
    s.slow = _SLOW_DECAY * s.slow + _SLOW_STEP * normal(draw(stream, 2 * hour))
    s.mid = _MID_DECAY * s.mid + _MID_STEP * normal(draw(stream, 2 * hour + 1))
    weekday = (hour // 24 + 2) % 7
    busy = w.season[hour % 24] * (WEEKEND if weekday > FRIDAY else 1.0)
    level = math.exp(2.0 * (s.slow + s.mid - _SPREAD))
    variance: float = s.own_sd**2 * level * busy * min(activity, _MOST_ACTIVE) ** _SHARED
    return variance


@kept()
def _turnover(s: Seat, variance: float) -> float:
    """Return the turnover to expect in an hour of this variance, in USDT."""
    usual = 60.0 * ((s.beta * MARKET_SD) ** 2 + s.own_sd**2)
    level = 60.0 * s.turnover * math.exp(s.liquidity - 0.5 * _LIQUIDITY_SD**2)
    turnover: float = level * (variance / usual) ** VOLUME_POWER
    return turnover


@kept()
def _drift(s: Seat, w: Exchange, hour: int) -> float:
    """Return the planted log drift of this hour, from the closes and payments before it."""
    drift = w.momentum * _momentum(s, hour, MOMENTUM_HOURS) - w.decoy * _momentum(s, hour, DECOY_HOURS)
    drift -= w.carry * _tilt((s.carry - BASE_RATE) / CARRY_SIZE)
    return drift * math.sqrt(s.square)


@kept(nogil=True)
def walk_seat(
    s: Seat, w: Exchange, number: int, first: int, factor: Floats, out: Floats, rates: Floats, lives: Lives
) -> None:
    """Move the state `s` of a seat in place over as many hours as `out` has rows, and write down what happened.

    Parameters
    ----------
    s : record of dtype SEAT
        The state at the start of hour `first`.
    w : Exchange
        Constants of the market.
    number : int
        Number of the seat.
    first : int
        Hours since the epoch.
    factor : ndarray of shape (hours, 6)
        As `_factor.walk_factor` writes it.
    out : ndarray of shape (hours, 5)
        Receives of each hour: log price at its opening, its log return, its variance, 1 / tick size, and the turnover
        in USDT to expect; NaN while the seat is empty.
    rates : ndarray of shape (ceil(hours / 8),) or longer
        Receives the funding rates paid at the opening of an hour divisible by 8; NaN where none is paid.
    lives : ndarray of int64, shape (generations, 3)
        Receives listings, announcements and delistings.
    """
    paid = 0
    for i in range(out.shape[0]):
        hour = first + i
        if hour % 24 == 0:
            _live(s, w, number, hour, lives)
        pays = hour % FUNDING_HOURS == 0
        if pays:
            rates[paid] = np.nan
            paid += 1
        if s.listed < 0.0:
            out[i] = np.nan
            continue
        symbol = int(s.generation) * SEATS + number
        if hour % 24 == 0:
            step = _LIQUIDITY_STEP * normal(draw(draw(w.liquidity, symbol), hour))
            s.liquidity = _LIQUIDITY_DECAY * s.liquidity + step
            s.scale = 10.0 ** min(max(5.0 - math.floor(s.price / math.log(10.0)), 0.0), 15.0)
        drift = _drift(s, w, hour)
        if pays and hour > s.listed:
            rates[paid - 1] = _rate(s, w, symbol, hour)
            s.price += _compensation(w, rates[paid - 1])
        calm = _own_variance(s, w, symbol, hour, factor[i, COLUMN.activity])
        mix = draw(draw(w.own_mix, symbol), hour)
        own_variance = 60.0 * calm * w.tails[mix & np.uint64(255)]
        shared = s.beta * s.beta * factor[i, COLUMN.variance]
        own = math.sqrt(own_variance) * normal(draw(draw(w.own_return, symbol), hour)) + drift - 0.5 * own_variance
        jump = 0.0
        if uniform(mix) < 60.0 * OWN_JUMPS:
            sd = min(JUMP_SIZE * math.sqrt(calm), JUMP_CAP)
            jump = sd * normal(draw(draw(w.own_jump, symbol), hour)) - 0.5 * sd * sd
        opening = s.price + jump + s.beta * factor[i, COLUMN.jump]
        opening -= 0.5 * s.beta * s.beta * factor[i, COLUMN.jump_variance]
        change = own + s.beta * factor[i, COLUMN.shock] - 0.5 * shared
        if w.variant == PLAIN:
            change += s.beta * factor[i, COLUMN.trend] - 60.0 * PULL * (s.price - s.level)
        s.price = opening + change
        s.own += own + jump
        s.square = _SQUARE_DECAY * s.square + (1.0 - _SQUARE_DECAY) * (own + jump) ** 2
        s.closes[hour % _RING] = s.own
        out[i, 0] = opening
        out[i, 1] = change
        out[i, 2] = shared + own_variance
        out[i, 3] = s.scale
        out[i, 4] = _turnover(s, shared + own_variance)
