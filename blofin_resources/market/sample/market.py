"""The synthetic exchange as a market source: any stretch of any listed symbol, generated when it is asked for.

Belongs here: the protocol, and anchors in memory of the symbols that have minutes. Does not belong here: how prices
move (`_process`), what is listed (`_listing`), the symbols that have hours only (`universe`).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, Literal, cast

import numpy as np
import polars as pl

from backtester.resampling import aggregate
from blofin_resources.errors import MarketError
from blofin_resources.market import source as base
from blofin_resources.market.sample import _process
from blofin_resources.market.sample._listing import EPOCH, FUNDING_MINUTES, LISTINGS, LOTS_A_CONTRACT, MINUTES_A_DAY
from blofin_resources.market.sample._path import Prints, bars, expect
from blofin_resources.market.sample.frames import NAME, candle_frame, funding_frame
from blofin_resources.market.sample.universe import Life, Universe
from features.bars import MINUTES, Timeframe, bar_length

Variant = Literal["plain", "null", "edge"]

_VARIANTS: Final[dict[Variant, int]] = {"plain": _process.PLAIN, "null": _process.NULL, "edge": _process.EDGE}
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_AT_ONCE: Final = timedelta(days=60)
"""Minutes of this much time are in memory while bars are made of them."""
_A_DAY: Final = MINUTES_A_DAY // FUNDING_MINUTES
DEEP: Final = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
"""The symbols with minutes that are listed for long bars beside the universe. The others would have them, too, at the
cost of their minutes."""

_TAKER: Final = 0.0006
_MAKER: Final = 0.0002


class SampleMarket:
    """The embedded synthetic exchange.

    The same (seed, variant, symbol, minute) gives the same bar whatever else is asked, in this process or another.
    All symbols of one seed share a market factor. Bars exist from 2020-01-01 up to the clock's present minute; a bar
    never depends on a later one. The symbols of `symbols` have minutes, and longer bars that are what their minutes
    make. The others of `listings` have bars of 60m, 4h and 1d: hours are made as such, which is far less work.

    Parameters
    ----------
    seed : int
        Which of the possible markets.
    variant : {'plain', 'null', 'edge'}
        `plain` looks real; `null` holds nothing to find; `edge` holds what `_process`
        documents for symbols with minutes, and `_seats` for the others.
    clock : callable, optional
        Tells the present: later bars are not given.
    """

    name = NAME
    synthetic = True

    def __init__(self, seed: int, variant: Variant = "plain", clock: base.Clock = base.utc_now) -> None:
        if variant not in _VARIANTS:
            msg = f"unknown variant {variant!r} of the sample market; it has: {', '.join(_VARIANTS)}"
            raise MarketError(msg)
        self._seed = seed
        self._variant: Variant = variant
        self._clock = clock
        self._tracks: dict[str, _Track] = {}
        self._universe = Universe(seed, _VARIANTS[variant])
        self._lock = Lock()

    @property
    def identity(self) -> str:
        """Return the market's name and seed, such as `sample seed=7` or `sample:null seed=7`."""
        suffix = "" if self._variant == "plain" else f":{self._variant}"
        return f"sample{suffix} seed={self._seed}"

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that have minutes, sorted; see `listings` for those that have hours only."""
        return tuple(sorted(LISTINGS))

    def first_ts(self, symbol: str) -> datetime:
        """See `MarketSource.first_ts`."""
        self._require_known([symbol])
        return self._life(symbol).listed

    def mark_candles_1m(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.mark_candles_1m`: this market has one price, so it has none beside it."""
        self._check(symbols, start, end)
        return base.no_marks()

    def shortest(self, symbol: str) -> Timeframe:
        """See `MarketSource.shortest`: minutes, and hours of the universe."""
        self._require_known([symbol])
        return "1m" if symbol in LISTINGS else "60m"

    def coverage(self, symbol: str) -> base.Coverage:
        """See `MarketSource.coverage`: through the clock's last full minute, or hour, or the delisting."""
        self._require_known([symbol])
        life, step = self._life(symbol), _MINUTE if symbol in LISTINGS else _HOUR
        through = self._now() - (self._now() - EPOCH) % step
        return base.Coverage(life.listed, through if life.delisted is None else min(life.delisted, through))

    def instruments(self, symbols: Sequence[str], as_of: datetime) -> pl.DataFrame:
        """See `MarketSource.instruments`; the tick size follows the price level at the start of the day."""
        self._check(symbols, EPOCH, as_of)
        rows = []
        for symbol in sorted(set(symbols)):
            listing = LISTINGS[symbol] if symbol in LISTINGS else self._universe.listing(symbol)
            life = self._life(symbol)
            rows.append(
                {
                    "symbol": symbol,
                    "as_of": as_of,
                    "base_currency": symbol.split("-")[0],
                    "quote_currency": symbol.split("-")[1],
                    "contract_value": listing.contract,
                    "tick_size": self._tick_size(symbol, as_of),
                    "lot_size": 1.0 / LOTS_A_CONTRACT,
                    "min_size": 1.0 / LOTS_A_CONTRACT,
                    "max_leverage": listing.leverage,
                    "maintenance_margin_rate": listing.maintenance,
                    "taker_fee": _TAKER,
                    "maker_fee": _MAKER,
                    "list_time": life.listed,
                    "state": base.DELISTED if life.delisted is not None and life.delisted <= as_of else "live",
                    "origin": self.name,
                }
            )
        return pl.DataFrame(rows, schema=base.INSTRUMENT_SCHEMA)

    def listings(self) -> pl.DataFrame:
        """See `MarketSource.listings`: `DEEP` and all of the universe; a delisting is known a week ahead."""
        now = self._now()
        lives = {symbol: self._life(symbol) for symbol in DEEP} | self._universe.lives(now)
        rows = [
            {
                "symbol": symbol,
                "list_time": life.listed,
                "delist_time": life.delisted,
                "state": base.DELISTED if life.delisted is not None and life.delisted <= now else "live",
            }
            for symbol, life in sorted(lives.items())
        ]
        return pl.DataFrame(rows, schema=base.LISTING_SCHEMA)

    def candles(self, symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.candles`."""
        self._check(symbols, start, end)
        base.require_begun({symbol: self._life(symbol).listed for symbol in symbols}, end, "the sample market")
        short = [symbol for symbol in symbols if symbol not in LISTINGS and MINUTES[timeframe] < MINUTES["60m"]]
        if short:
            msg = (
                f"{', '.join(short)} of the sample market has no {timeframe} bars; request 60m, 4h or 1d, or one of "
                f"{', '.join(sorted(LISTINGS))}"
            )
            raise MarketError(msg)
        until = min(end, self._now())

        def made(symbol: str) -> pl.DataFrame:
            source = self._track(symbol) if symbol in LISTINGS else self._universe
            return source.candles(symbol, timeframe, start, until)

        # The compiled recursions let go of the interpreter: symbols are made on all cores.
        with ThreadPoolExecutor() as pool:
            return pl.concat([base.no_candles(), *pool.map(made, sorted(set(symbols)))])

    def funding(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.funding`."""
        self._check(symbols, start, end)
        until = min(end, self._now())
        made = [
            self._track(symbol).funding(start, until)
            if symbol in LISTINGS
            else self._universe.funding(symbol, start, until)
            for symbol in sorted(set(symbols))
        ]
        return pl.concat([base.no_funding(), *made])

    def _now(self) -> datetime:
        now = self._clock()
        return now - (now - EPOCH) % _MINUTE

    def _check(self, symbols: Sequence[str], start: datetime, end: datetime) -> None:
        self._require_known(symbols)
        base.require_range(start, end)

    def _require_known(self, symbols: Sequence[str]) -> None:
        others = [symbol for symbol in symbols if symbol not in LISTINGS and self._universe.life(symbol, self._now())]
        base.require_known(symbols, [*LISTINGS, *others], "the sample market")

    def _life(self, symbol: str) -> Life:
        """Return when a known symbol was listed and, as far as is known by now, when it is delisted."""
        return self._universe.life(symbol, self._now()) or Life(EPOCH, None)

    def _tick_size(self, symbol: str, as_of: datetime) -> float:
        if symbol in LISTINGS:
            return 1.0 / self._track(symbol).scale((as_of - EPOCH) // _DAY)
        return self._universe.tick_size(symbol, as_of)

    def _track(self, symbol: str) -> "_Track":
        with self._lock:
            if symbol not in self._tracks:
                self._tracks[symbol] = _Track(symbol, self._seed, _VARIANTS[self._variant])
            return self._tracks[symbol]


class _Track:
    """One symbol's states at the start of every day, extended as later days are asked for."""

    def __init__(self, symbol: str, seed: int, variant: int) -> None:
        self._symbol = symbol
        self._world = _process.world(symbol, seed, variant)
        self._states = _process.first_state(self._world)
        self._rates = np.empty((0, _A_DAY))
        self._lock = Lock()

    def scale(self, day: int) -> float:
        """Return 1 / tick size of a day, counted from the epoch."""
        self._reach(day + 1)
        return float(self._states[day + 1]["scale"])

    def candles(self, symbol: str, timeframe: Timeframe, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the bars of `symbol`, which is this track's, in the range."""
        length = bar_length(timeframe)
        first = EPOCH + max(-((EPOCH - start) // length), 0) * length
        last = EPOCH + (end - EPOCH) // length * length
        frames = [base.no_candles()]
        while first < last:
            until = min(first + _AT_ONCE, last)
            out = self._bars(_minute(first), _minute(until), MINUTES[timeframe])
            minutes = candle_frame(symbol, first, "1m", out)
            frames.append(minutes if timeframe == "1m" else aggregate(minutes, timeframe, until))
            first = until
        return pl.concat(frames)

    def funding(self, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the payments in the range, both ends included."""
        step = timedelta(minutes=FUNDING_MINUTES)
        first, last = max(-((EPOCH - start) // step), 0), (end - EPOCH) // step
        if last < first:
            return base.no_funding()
        self._reach(last // _A_DAY + 1)
        return funding_frame(self._symbol, EPOCH + first * step, self._rates.reshape(-1)[first : last + 1])

    def _bars(self, first: int, last: int, span: int) -> _process.Floats:
        """Return the minutes from `first` to before `last`, of which bars of `span` are made; see `_path.bars`."""
        day = first // MINUTES_A_DAY
        self._reach(day)
        begin = day * MINUTES_A_DAY
        count = last - begin
        walked = np.empty((count, 4))
        rates = np.empty(-(-count // FUNDING_MINUTES))
        state = self._states[day : day + 1].copy()
        _process.walk(cast("_process.State", state[0]), self._world, begin, walked, rates)
        walked = walked[first - begin :]
        expected, out = np.empty(len(walked)), np.empty((7, len(walked)))
        expect(walked, self._world, expected)
        w = self._world
        bars(walked, expected, first, Prints(w.path, w.volume, w.contract), span, out)
        return out

    def _reach(self, day: int) -> None:
        """Make sure that the state at the start of `day` is known."""
        with self._lock:
            known = len(self._states)
            if day < known:
                return
            states = np.empty(day - known + 2, _process.STATE)
            states[0] = self._states[-1]
            rates = np.empty((len(states) - 1, _A_DAY))
            _process.anchors(states, self._world, known - 1, rates)
            self._states = np.concatenate([self._states, states[1:]])
            self._rates = np.concatenate([self._rates, rates])


def _minute(moment: datetime) -> int:
    """Return the last full minute not after `moment`, counted from the epoch."""
    return (moment - EPOCH) // _MINUTE
