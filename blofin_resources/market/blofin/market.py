"""The Blofin exchange as a market source.

Belongs here: several symbols in one go, failures kept apart by symbol, the bridge from async to plain calls. Does not
belong here: requests and paging (`client`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import polars as pl

from blofin_resources.errors import MarketError
from blofin_resources.market import base
from blofin_resources.market.blofin.client import PATIENCE, BlofinClient, Silence
from blofin_resources.market.blofin.limit import SharedLimiter, default_state
from blofin_resources.market.blofin.parse import TICKER_SCHEMA
from features.bars import TS, floor_time

T = TypeVar("T")
_Bars = Callable[[BlofinClient, str, datetime, datetime], Awaitable[pl.DataFrame]]

_LISTING_SECONDS: Final = 3600.0
_MINUTE: Final = timedelta(minutes=1)
_SETTLING_TRIES: Final = 3


class BlofinMarket:
    """Candles, funding and instruments from the exchange's public API; no key is needed.

    Parameters
    ----------
    url : str
        Address of the API, without path.
    clock : callable, optional
        Tells the present: only bars closed by then are asked for.
    connect : callable, optional
        Makes a client; tests pass one with other limits.
    patience : float, optional
        Seconds that one call may take in all, where `connect` is not given.
    settling : float, optional
        Seconds between looks for a last bar that has just closed and is not served as closed yet.
    """

    name = "blofin"
    synthetic = False

    def __init__(
        self,
        url: str,
        clock: base.Clock = base.utc_now,
        connect: Callable[[], BlofinClient] | None = None,
        *,
        patience: float = PATIENCE,
        settling: float = 2.0,
    ) -> None:
        self._url = url.rstrip("/")
        self._clock = clock
        self._settling = settling
        self._connect = connect or (
            lambda: BlofinClient(self._url, SharedLimiter(default_state(self._url)), bound=patience)
        )
        self._silence = Silence()
        self._listed: tuple[datetime, pl.DataFrame] | None = None

    @property
    def identity(self) -> str:
        """Return `blofin` and the address: the demo exchange is another market."""
        return f"blofin {self._url}"

    def symbols(self) -> tuple[str, ...]:
        """See `MarketSource.symbols`: what is listed now."""
        return tuple(self._instruments()["symbol"])

    def first_ts(self, symbol: str) -> datetime:
        """See `MarketSource.first_ts`: the first full minute of the listing."""
        self._check([symbol])
        listed: datetime = self._instruments().filter(pl.col("symbol") == symbol)["list_time"].item()
        return floor_time(listed + _MINUTE - timedelta(microseconds=1), _MINUTE)

    def coverage(self, symbol: str) -> base.Coverage:
        """See `MarketSource.coverage`: from the listing through the clock's last full minute."""
        now = self._clock()
        return base.Coverage(self.first_ts(symbol), now.replace(second=0, microsecond=0))

    def instruments(self, symbols: Sequence[str], as_of: datetime) -> pl.DataFrame:
        """See `MarketSource.instruments`; the exchange tells the present only, which is stamped `as_of`."""
        self._check(symbols)
        wanted = sorted(set(symbols))
        listed = self._instruments().filter(pl.col("symbol").is_in(wanted))

        async def rates(client: BlofinClient) -> list[float]:
            return await asyncio.gather(*(client.maintenance_rate(symbol) for symbol in wanted))

        found = pl.DataFrame({"symbol": wanted, "maintenance_margin_rate": self._run(rates)})
        return listed.update(found, on="symbol").with_columns(as_of=pl.lit(as_of, TS)).sort("symbol")

    def candles_1m(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.candles_1m`; raises where any symbol fails: `fetch_candles` keeps the others' rows."""
        return self.fetch_candles(symbols, start, end).require_all()

    def funding(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.funding`; raises where any symbol fails: `fetch_funding` keeps the others' rows."""
        return self.fetch_funding(symbols, start, end).require_all()

    def mark_candles_1m(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.mark_candles_1m`; raises where any symbol fails: `fetch_mark_candles` keeps the others."""
        return self.fetch_mark_candles(symbols, start, end).require_all()

    def fetch_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> base.Fetched:
        """Return the 1-minute bars of every symbol that could be had, and the errors of the others."""
        base.require_range(start, end)
        until = min(end, self._clock())
        known, failures = self._split(symbols)
        if known and not failures:
            base.require_begun({symbol: self.first_ts(symbol) for symbol in known}, end, f"{self.identity}")

        async def one(client: BlofinClient, symbol: str) -> pl.DataFrame:
            return await client.candles(symbol, max(start, self.first_ts(symbol)), until)

        came = self._each(known, one, base.no_candles(), failures)
        return self._settled(came, known, start, until, BlofinClient.candles)

    def _settled(
        self, came: base.Fetched, symbols: Sequence[str], start: datetime, until: datetime, ask: _Bars
    ) -> base.Fetched:
        """Return what came with the last bars of symbols for which the exchange had not closed them yet.

        Asked in the second after a bar's end, an exchange may still call it forming. What lacks a last bar is asked
        for again, `_SETTLING_TRIES` times at most and only close to the present: later, it is a gap.
        """
        last = floor_time(until, _MINUTE) - _MINUTE
        for _ in range(_SETTLING_TRIES):
            closed = set(came.frame.filter(pl.col("ts") == last)["symbol"])
            late = [symbol for symbol in symbols if symbol not in closed and symbol not in came.failures]
            if not late or last < start or self._clock() - until > _MINUTE:
                break
            time.sleep(self._settling)

            async def one(client: BlofinClient, symbol: str) -> pl.DataFrame:
                return await ask(client, symbol, max(last, self.first_ts(symbol)), until)

            again = self._each(late, one, came.frame.clear(), {})
            frame = pl.concat([came.frame, again.frame]).unique(["symbol", "ts"]).sort("symbol", "ts")
            came = base.Fetched(frame, came.failures)
        return came

    def fetch_mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> base.Fetched:
        """Return the 1-minute bars of the mark price of every symbol that could be had, as `fetch_candles`."""
        base.require_range(start, end)
        until = min(end, self._clock())
        known, failures = self._split(symbols)

        async def one(client: BlofinClient, symbol: str) -> pl.DataFrame:
            return await client.mark_candles(symbol, max(start, self.first_ts(symbol)), until)

        came = self._each(known, one, base.no_marks(), failures)
        served = sorted(set(came.frame["symbol"]))  # one without any mark price is not waited for
        return self._settled(came, served, start, until, BlofinClient.mark_candles)

    def fetch_funding(self, symbols: Sequence[str], start: datetime, end: datetime) -> base.Fetched:
        """Return the funding of every symbol that could be had, and the errors of the others."""
        base.require_range(start, end)
        until = min(end, self._clock())
        known, failures = self._split(symbols)

        async def one(client: BlofinClient, symbol: str) -> pl.DataFrame:
            return await client.funding(symbol, max(start, self.first_ts(symbol)), until)

        return self._each(known, one, base.no_funding(), failures)

    def tickers(self, symbols: Sequence[str]) -> pl.DataFrame:
        """Return the market now, one row a symbol, with `parse.TICKER_SCHEMA`."""
        self._check(symbols)

        async def ask(client: BlofinClient) -> pl.DataFrame:
            return await client.tickers()

        frame = self._run(ask)
        return frame.filter(pl.col("symbol").is_in(list(symbols))).cast(TICKER_SCHEMA)

    def _check(self, symbols: Sequence[str]) -> None:
        base.require_known(symbols, self.symbols(), self.identity)

    def _split(self, symbols: Sequence[str]) -> tuple[list[str], dict[str, MarketError]]:
        """Return the listed among `symbols`, sorted, and an error for each of the others."""
        wanted = sorted(set(symbols))
        listed = set(self.symbols())
        if not listed.intersection(wanted):
            self._check(wanted)
        delisted = "{} is not listed on {} (never was, or no longer)"
        failures = {s: MarketError(delisted.format(s, self.identity)) for s in wanted if s not in listed}
        return [symbol for symbol in wanted if symbol in listed], failures

    def _instruments(self) -> pl.DataFrame:
        """Return the listing, asked for again once it is an hour old."""
        now = self._clock()
        if self._listed is None or (now - self._listed[0]).total_seconds() > _LISTING_SECONDS:

            async def ask(client: BlofinClient) -> pl.DataFrame:
                return await client.instruments(now)

            self._listed = (now, self._run(ask))
        return self._listed[1]

    def _each(
        self,
        symbols: Sequence[str],
        ask: Callable[[BlofinClient, str], Awaitable[pl.DataFrame]],
        nothing: pl.DataFrame,
        failures: dict[str, MarketError],
    ) -> base.Fetched:
        """Ask for every symbol at once and keep what came apart from what failed."""

        async def one(client: BlofinClient, symbol: str) -> pl.DataFrame | MarketError:
            try:
                return await ask(client, symbol)
            except MarketError as error:
                return error
            except BaseExceptionGroup as group:
                if group.split(MarketError)[1] is not None:
                    raise
                return _first(group)

        async def every(client: BlofinClient) -> list[pl.DataFrame | MarketError]:
            return await asyncio.gather(*(one(client, symbol) for symbol in symbols))

        frames, failed = [nothing], dict(failures)
        for symbol, answer in zip(symbols, self._run(every), strict=True):
            if isinstance(answer, MarketError):
                failed[symbol] = answer
            else:
                frames.append(answer)
        return base.Fetched(pl.concat(frames), failed)

    def _run(self, ask: Callable[[BlofinClient], Coroutine[Any, Any, T]]) -> T:
        """Run one conversation with the exchange in a thread of its own, which may be called from an event loop."""

        async def conversation() -> T:
            async with self._connect() as client:
                self._silence = client.silence = self._silence.carried(client.now())
                return await ask(client)

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, conversation()).result()


def _first(errors: BaseException) -> MarketError:
    """Return the first error inside nested groups."""
    inner = errors
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return inner if isinstance(inner, MarketError) else MarketError(str(inner))
