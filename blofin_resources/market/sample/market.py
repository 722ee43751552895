"""The synthetic exchange as a market source: any stretch of any listed symbol, generated when it is asked for.

Belongs here: anchors in memory and the frames of a request. Does not belong here: how prices move (`_process`), what
is listed (`_listing`).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, Literal, cast

import numpy as np
import polars as pl

from blofin_resources.errors import MarketError
from blofin_resources.market import base
from blofin_resources.market.sample import _process
from blofin_resources.market.sample._listing import EPOCH, FUNDING_MINUTES, LISTINGS, LOTS_A_CONTRACT, MINUTES_A_DAY
from blofin_resources.market.sample._path import bars
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, TS

Variant = Literal["plain", "null", "edge"]

_VARIANTS: Final[dict[Variant, int]] = {"plain": _process.PLAIN, "null": _process.NULL, "edge": _process.EDGE}
_MINUTE: Final = timedelta(minutes=1)
_MINUTE_US: Final = 60_000_000
_EPOCH_US: Final = int(EPOCH.timestamp()) * 1_000_000
_COLUMNS: Final = ("open", "high", "low", "close", "volume", "quote_volume", "contracts")
_A_DAY: Final = MINUTES_A_DAY // FUNDING_MINUTES
_TAKER: Final = 0.0006
_MAKER: Final = 0.0002


class SampleMarket:
    """The embedded synthetic exchange.

    The same (seed, variant, symbol, minute) gives the same bar whatever else is asked, in this process or another.
    All symbols of one seed share a market factor. Bars exist from 2020-01-01 up to the clock's present minute; a bar
    never depends on a later one.

    Parameters
    ----------
    seed : int
        Which of the possible markets.
    variant : {'plain', 'null', 'edge'}
        `plain` looks real; `null` holds nothing to find; `edge` holds what `_process` documents.
    clock : callable, optional
        Tells the present: later bars are not given.
    """

    name = "sample"
    synthetic = True

    def __init__(self, seed: int, variant: Variant = "plain", clock: base.Clock = base.utc_now) -> None:
        if variant not in _VARIANTS:
            msg = f"unknown variant {variant!r} of the sample market; it has: {', '.join(_VARIANTS)}"
            raise MarketError(msg)
        self._seed = seed
        self._variant: Variant = variant
        self._clock = clock
        self._tracks: dict[str, _Track] = {}
        self._lock = Lock()

    @property
    def identity(self) -> str:
        """Return the market's name and seed, such as `sample seed=7` or `sample:null seed=7`."""
        suffix = "" if self._variant == "plain" else f":{self._variant}"
        return f"sample{suffix} seed={self._seed}"

    def symbols(self) -> tuple[str, ...]:
        """See `MarketSource.symbols`."""
        return tuple(sorted(LISTINGS))

    def first_ts(self, symbol: str) -> datetime:
        """See `MarketSource.first_ts`."""
        base.require_known([symbol], LISTINGS, "the sample market")
        return EPOCH

    def mark_candles_1m(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.mark_candles_1m`: this market has one price, so it has none beside it."""
        self._check(symbols, start, end)
        return base.no_marks()

    def coverage(self, symbol: str) -> base.Coverage:
        """See `MarketSource.coverage`: through the last full minute of the clock."""
        return base.Coverage(self.first_ts(symbol), self._now())

    def instruments(self, symbols: Sequence[str], as_of: datetime) -> pl.DataFrame:
        """See `MarketSource.instruments`; the tick size follows the price level at the start of the day."""
        self._check(symbols, EPOCH, as_of)
        day = _minute(as_of) // MINUTES_A_DAY
        rows = []
        for symbol in sorted(set(symbols)):
            listing = LISTINGS[symbol]
            rows.append(
                {
                    "symbol": symbol,
                    "as_of": as_of,
                    "base_currency": symbol.split("-")[0],
                    "quote_currency": symbol.split("-")[1],
                    "contract_value": listing.contract,
                    "tick_size": 1.0 / self._track(symbol).scale(day),
                    "lot_size": 1.0 / LOTS_A_CONTRACT,
                    "min_size": 1.0 / LOTS_A_CONTRACT,
                    "max_leverage": listing.leverage,
                    "maintenance_margin_rate": listing.maintenance,
                    "taker_fee": _TAKER,
                    "maker_fee": _MAKER,
                    "list_time": EPOCH,
                    "state": "live",
                    "origin": self.name,
                }
            )
        return pl.DataFrame(rows, schema=base.INSTRUMENT_SCHEMA)

    def candles_1m(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.candles_1m`."""
        self._check(symbols, start, end)
        base.require_begun(dict.fromkeys(symbols, EPOCH), end, "the sample market")
        first = max(-((EPOCH - start) // _MINUTE), 0)
        last = _minute(min(end, self._now()))
        if last <= first:
            return base.no_candles()
        tracks = [self._track(symbol) for symbol in sorted(set(symbols))]
        # The compiled recursion lets go of the interpreter: symbols are made on all cores.
        with ThreadPoolExecutor() as pool:
            frames: list[pl.DataFrame] = list(pool.map(lambda track: track.candles(first, last), tracks))
        return pl.concat(frames)

    def funding(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.funding`."""
        self._check(symbols, start, end)
        until = min(end, self._now())
        first = max(-((EPOCH - start) // timedelta(minutes=FUNDING_MINUTES)), 0)
        last = _minute(until) // FUNDING_MINUTES
        if last < first:
            return base.no_funding()
        return pl.concat(self._track(symbol).funding(first, last) for symbol in sorted(set(symbols)))

    def _now(self) -> datetime:
        now = self._clock()
        return now - (now - EPOCH) % _MINUTE

    def _check(self, symbols: Sequence[str], start: datetime, end: datetime) -> None:
        base.require_known(symbols, LISTINGS, "the sample market")
        base.require_range(start, end)

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

    def candles(self, first: int, last: int) -> pl.DataFrame:
        """Return the bars of the minutes from `first` to before `last`."""
        day = first // MINUTES_A_DAY
        self._reach(day)
        begin = day * MINUTES_A_DAY
        count = last - begin
        walked = np.empty((count, 4))
        rates = np.empty(-(-count // FUNDING_MINUTES))
        state = self._states[day : day + 1].copy()
        _process.walk(cast("_process.State", state[0]), self._world, begin, walked, rates)
        walked = walked[first - begin :]
        out = np.empty((len(_COLUMNS), len(walked)))
        bars(walked, first, self._world, out)
        return self._frame(first, out)

    def funding(self, first: int, last: int) -> pl.DataFrame:
        """Return the payments from number `first` to number `last`, both included, counted from the epoch."""
        self._reach(last // _A_DAY + 1)
        rates = self._rates.reshape(-1)[first : last + 1]
        ts = _EPOCH_US + np.arange(first, last + 1) * (FUNDING_MINUTES * _MINUTE_US)
        return pl.DataFrame({"symbol": self._symbol, "ts": ts, "rate": rates}).cast({"ts": TS}).cast(FUNDING_SCHEMA)

    def _frame(self, first: int, out: _process.Floats) -> pl.DataFrame:
        ts = _EPOCH_US + np.arange(first, first + out.shape[1]) * _MINUTE_US
        data = {"ts": ts, **{name: out[i] for i, name in enumerate(_COLUMNS)}}
        return (
            pl.DataFrame(data)
            .with_columns(
                pl.col("ts").cast(TS),
                symbol=pl.lit(self._symbol),
                minutes=pl.lit(1, pl.Int32),
                origin=pl.lit(SampleMarket.name),
                flag=pl.lit(None, pl.String),
            )
            .select(CANDLE_SCHEMA.names())
        )

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
