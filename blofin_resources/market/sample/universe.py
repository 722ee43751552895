"""The universe of the synthetic exchange: symbols with hourly bars, listings and delistings.

Belongs here: names, states in memory and the frames of a request. Does not belong here: how prices move (`_seats`), the
symbols that have minutes (`market`).
"""

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, NamedTuple, cast

import numpy as np
import polars as pl

from backtester.resampling import aggregate
from blofin_resources.market.sample import _process, _seats
from blofin_resources.market.sample._factor import WIDTH, walk_factor
from blofin_resources.market.sample._listing import EPOCH, Listing
from blofin_resources.market.sample._path import Prints, bars
from blofin_resources.market.sample._process import NULL, Floats
from blofin_resources.market.sample._random import key
from blofin_resources.market.sample.frames import candle_frame, funding_frame
from features.bars import MINUTES, Timeframe, bar_length

_HOUR: Final = timedelta(hours=1)
_BLOCK: Final = 30 * 24
"""Hours between two states that are kept."""

_PAID: Final = _BLOCK // _seats.FUNDING_HOURS
_GENERATIONS: Final = 4900 // _seats.SEATS
"""How many symbols a seat can name: enough for 30 years even if each were delisted as soon as it can be."""

_CONSONANTS: Final = "BDFGKLMNPRSTVZ"
_VOWELS: Final = "AEIOU"
_SYLLABLES: Final = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]
_STRIDE: Final = 1789
_LEVERAGE: Final = 50.0
_MAINTENANCE: Final = 0.015


def name_of(number: int) -> str:
    """Return the invented name of the universe's symbol of a number: two syllables and an X.

    Examples
    --------
    >>> name_of(0), name_of(1)
    ('BABAX-USDT', 'LANUX-USDT')
    """
    count = len(_SYLLABLES)
    first, second = divmod(number * _STRIDE % count**2, count)
    return f"{_SYLLABLES[first]}{_SYLLABLES[second]}X-USDT"


_NUMBERS: Final = {name_of(number): number for number in range(_GENERATIONS * _seats.SEATS)}


class Life(NamedTuple):
    """When a symbol was listed and when it is delisted, None where no delisting is announced."""

    listed: datetime
    delisted: datetime | None


class Universe:
    """The symbols of the synthetic exchange that have hourly bars only.

    The same (seed, variant, symbol, hour) gives the same bar whatever else is asked. A bar, a listing and a delisting
    never depend on anything later. All symbols share the market factor of those with minutes.

    Parameters
    ----------
    seed : int
        Which of the possible markets.
    variant : int
        One of `_process.PLAIN`, `NULL`, `EDGE`; see `_seats`.
    """

    def __init__(self, seed: int, variant: int) -> None:
        self._seed = seed
        factor = _Factor(seed)
        constants = _seats.exchange(seed, variant)
        self._seats = [_Seat(number, constants, factor) for number in range(_seats.SEATS)]

    def lives(self, as_of: datetime) -> dict[str, Life]:
        """Return every symbol listed by `as_of`, sorted; a delisting is known from its announcement on."""
        hour = (as_of - EPOCH) // _HOUR
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda seat: seat.lives(hour), self._seats))
        return dict(sorted((symbol, life) for lives in found for symbol, life in lives.items()))

    def life(self, symbol: str, as_of: datetime) -> Life | None:
        """Return what `lives` says about one symbol, None where it is not listed by then; far less work."""
        number = _NUMBERS.get(symbol)
        if number is None:
            return None
        return self._seats[number % _seats.SEATS].lives((as_of - EPOCH) // _HOUR).get(symbol)

    def listing(self, symbol: str) -> Listing:
        """Return the constants of a symbol: the same in every market."""
        return character(_NUMBERS[symbol])

    def tick_size(self, symbol: str, as_of: datetime) -> float:
        """Return the tick size of the day of `as_of`, or of the nearest day on which the symbol was traded."""
        seat, generation = self._seat(symbol)
        return seat.tick_size(generation, (as_of - EPOCH) // _HOUR)

    def candles(self, symbol: str, timeframe: Timeframe, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the bars with `start <= ts` that are closed by `end`.

        Parameters
        ----------
        symbol : str
            A symbol of `lives`.
        timeframe : {'60m', '4h', '1d'}
            Length of the bars.
        start, end : datetime
            Range (UTC).

        Returns
        -------
        DataFrame
            `CANDLE_SCHEMA`; a row for each bar from the listing to the delisting.
        """
        length, span = bar_length(timeframe), MINUTES[timeframe] // MINUTES["60m"]
        first, last = max(-((EPOCH - start) // length), 0) * span, (end - EPOCH) // length * span
        seat, generation = self._seat(symbol)
        begin, walked = seat.walked(generation, first, last)
        out = np.empty((7, len(walked)))
        contract = self.listing(symbol).contract
        prints = Prints(key(self._seed, symbol, "path"), key(self._seed, symbol, "volume"), contract)
        bars(walked, walked[:, 4].copy(), begin, prints, span, out)
        hours = candle_frame(symbol, EPOCH + begin * _HOUR, "60m", out)
        return hours if timeframe == "60m" else aggregate(hours, timeframe, end)

    def funding(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the funding paid at `start <= ts <= end`.

        Parameters
        ----------
        symbol : str
            A symbol of `lives`.
        start, end : datetime
            Range (UTC).

        Returns
        -------
        DataFrame
            `FUNDING_SCHEMA`; a row every eight hours after the listing and before the delisting.
        """
        step = _HOUR * _seats.FUNDING_HOURS
        first, last = max(-((EPOCH - start) // step), 0), (end - EPOCH) // step
        seat, generation = self._seat(symbol)
        begin, rates = seat.rates(generation, first, last)
        return funding_frame(symbol, EPOCH + begin * step, rates)

    def _seat(self, symbol: str) -> tuple["_Seat", int]:
        generation, seat = divmod(_NUMBERS[symbol], _seats.SEATS)
        return self._seats[seat], generation


def character(number: int) -> Listing:
    """Return the constants of a symbol by its number."""
    state = np.zeros(1, _seats.SEAT)
    _seats.take_character(cast("_seats.Seat", state[0]), _seats.CHARACTER, number)
    level, beta, own, turnover = (float(state[field][0]) for field in ("level", "beta", "own_sd", "turnover"))
    # a contract is worth some 10 USDT at the listing
    contract = 10.0 ** round(1.0 - level / math.log(10.0))
    return Listing(math.exp(level), beta, own * 1e4, turnover, contract, _LEVERAGE, _MAINTENANCE)


class _Factor:
    """The common factor by blocks of hours, extended as later ones are asked for."""

    def __init__(self, seed: int) -> None:
        self._world = _process.world("BTC-USDT", seed, NULL)
        self._state = _process.first_state(self._world)
        self._blocks: list[Floats] = []
        self._lock = Lock()

    def block(self, number: int) -> Floats:
        """Return the factor of a block; see `walk_factor`."""
        with self._lock:
            while len(self._blocks) <= number:
                out = np.empty((_BLOCK, WIDTH))
                walk_factor(cast("_process.State", self._state[0]), self._world, len(self._blocks) * _BLOCK, out)
                self._blocks.append(out)
            return self._blocks[number]


class _Seat:
    """One seat's states at the start of every block, extended as later blocks are asked for."""

    def __init__(self, number: int, constants: _seats.Exchange, factor: _Factor) -> None:
        self._number = number
        self._constants = constants
        self._factor = factor
        self._states = [_seats.empty_seat(number, constants)]
        self._paid: list[Floats] = []
        self._lives = np.full((_GENERATIONS, 3), -1, np.int64)
        self._lock = Lock()

    def lives(self, hour: int) -> dict[str, Life]:
        """Return the symbols that this seat listed by `hour`."""
        self._reach(hour)
        found = {}
        for generation, (listed, announced, _) in enumerate(self._lives.tolist()):
            if not 0 <= listed <= hour:
                break
            known = 0 <= announced <= hour
            delisted = EPOCH + (announced + _seats.NOTICE_HOURS) * _HOUR if known else None
            found[name_of(generation * _seats.SEATS + self._number)] = Life(EPOCH + listed * _HOUR, delisted)
        return found

    def tick_size(self, generation: int, hour: int) -> float:
        """Return the tick size at an hour, or at the nearest one at which the symbol, listed by now, was traded."""
        listed, _, delisted = self._lives[generation].tolist()
        at = max(min(hour, delisted - 1 if delisted >= 0 else hour), listed)
        _, walked = self.walked(generation, at, at + 1)
        return 1.0 / float(walked[0, 3])

    def walked(self, generation: int, first: int, last: int) -> tuple[int, Floats]:
        """Return the first hour from `first` on in which the symbol is listed, and what happened up to `last`."""
        listed, ended = self._span(generation, last)
        first, last = max(first, listed), min(last, ended)
        if last <= first:
            return first, np.empty((0, 5))
        parts = [self._walk_block(block) for block in range(first // _BLOCK, (last - 1) // _BLOCK + 1)]
        begin = first // _BLOCK * _BLOCK
        return first, np.concatenate(parts)[first - begin : last - begin]

    def rates(self, generation: int, first: int, last: int) -> tuple[int, Floats]:
        """Return the number of the first payment from `first` on and the rates up to `last`, included."""
        listed, ended = self._span(generation, last * _seats.FUNDING_HOURS + 1)
        first = max(first, listed // _seats.FUNDING_HOURS + 1)
        last = min(last, (ended - 1) // _seats.FUNDING_HOURS)
        if last < first:
            return first, np.empty(0)
        return first, np.concatenate(self._paid)[first : last + 1]

    def _span(self, generation: int, hour: int) -> tuple[int, int]:
        """Return the hours from listing to delisting, as far as they lie before `hour`."""
        self._reach(hour)
        listed, _, delisted = self._lives[generation].tolist()
        if not 0 <= listed < hour:
            return hour, hour
        return listed, min(delisted, hour) if delisted >= 0 else hour

    def _walk_block(self, block: int) -> Floats:
        out = np.empty((_BLOCK, 5))
        state = self._states[block].copy()
        self._walk(state, block, out, np.empty(_PAID), self._lives.copy())
        return out

    def _walk(self, state: _process.States, block: int, out: Floats, rates: Floats, lives: _seats.Lives) -> None:
        seat = cast("_seats.Seat", state[0])
        factor = self._factor.block(block)
        _seats.walk_seat(seat, self._constants, self._number, block * _BLOCK, factor, out, rates, lives)

    def _reach(self, hour: int) -> None:
        """Make sure that everything up to the end of `hour`'s block is known."""
        with self._lock:
            while len(self._paid) <= hour // _BLOCK:
                state, rates = self._states[-1].copy(), np.empty(_PAID)
                self._walk(state, len(self._paid), np.empty((_BLOCK, 5)), rates, self._lives)
                self._states.append(state)
                self._paid.append(rates)
