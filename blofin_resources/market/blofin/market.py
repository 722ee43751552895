"""The Blofin exchange as a market source.

Belongs here: requests for several symbols at once, errors by symbol, the bridge from async to plain calls. Does not
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
from blofin_resources.market import source as base
from blofin_resources.market.blofin.client import LONGEST_WAIT, PATIENCE, BlofinClient, OutageTracker
from blofin_resources.market.blofin.parse import TICKER_SCHEMA
from blofin_resources.market.blofin.rate_limiter import SharedLimiter, default_state
from features.bars import TS, Timeframe, bar_length, floor_time

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
        Returns the current time; only bars closed by then are requested.
    connect : callable, optional
        Makes a client; tests pass one with other limits.
    patience : float, optional
        Seconds allowed for one call, where `connect` is not given.
    wait : bool, optional
        Whether a call waits for the end of a longer block, where `connect` is not given.
    settling : float, optional
        Seconds between requests for a last bar that has just closed and is not yet served as closed.
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
        wait: bool = False,
        settling: float = 2.0,
    ) -> None:
        self._url = url.rstrip("/")
        self._clock = clock
        self._settling = settling
        longest = LONGEST_WAIT if wait else 0.0
        self._connect = connect or (
            lambda: BlofinClient(self._url, SharedLimiter(default_state(self._url)), bound=patience, wait=longest)
        )
        self._outage = OutageTracker()
        self._listed: tuple[datetime, pl.DataFrame] | None = None

    @property
    def identity(self) -> str:
        """Return `blofin` and the address: the demo exchange is another market."""
        return f"blofin {self._url}"

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that are listed now."""
        return tuple(self._instruments()["symbol"])

    def first_ts(self, symbol: str) -> datetime:
        """See `MarketSource.first_ts`: the first full minute of the listing."""
        self._check([symbol])
        listed: datetime = self._instruments().filter(pl.col("symbol") == symbol)["list_time"].item()
        return floor_time(listed + _MINUTE - timedelta(microseconds=1), _MINUTE)

    def shortest(self, symbol: str) -> Timeframe:  # noqa: ARG002 - the same of every symbol
        """See `MarketSource.shortest`: minutes."""
        return "1m"

    def coverage(self, symbol: str) -> base.Coverage:
        """See `MarketSource.coverage`: from the listing through the clock's last full minute."""
        now = self._clock()
        return base.Coverage(self.first_ts(symbol), now.replace(second=0, microsecond=0))

    def instruments(self, symbols: Sequence[str], as_of: datetime) -> pl.DataFrame:
        """See `MarketSource.instruments`; the exchange knows only the present, which is stamped `as_of`."""
        self._check(symbols)
        wanted = sorted(set(symbols))
        listed = self._instruments().filter(pl.col("symbol").is_in(wanted))
        traded = listed.filter(pl.col("state") != base.DELISTED)["symbol"].to_list()

        async def rates(client: BlofinClient) -> list[float]:
            return await asyncio.gather(*(client.maintenance_rate(symbol) for symbol in traded))

        found = pl.DataFrame(
            {"symbol": traded, "maintenance_margin_rate": self._run(rates)},
            schema={"symbol": pl.String, "maintenance_margin_rate": pl.Float64},
        )
        return listed.update(found, on="symbol").with_columns(as_of=pl.lit(as_of, TS)).sort("symbol")

    def listings(self) -> pl.DataFrame:
        """See `MarketSource.listings`; the exchange lists the present, and says of few that they have ended."""
        listed = self._instruments().with_columns(delist_time=pl.lit(None, TS))
        return listed.select(base.LISTING_SCHEMA.names()).cast(base.LISTING_SCHEMA)

    def candles(self, symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.candles`; raises if any symbol fails, while `fetch_candles` keeps the others' rows."""
        return self.fetch_candles(symbols, timeframe, start, end).require_all()

    def funding(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.funding`; raises if any symbol fails, while `fetch_funding` keeps the others' rows."""
        return self.fetch_funding(symbols, start, end).require_all()

    def mark_candles_1m(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.mark_candles_1m`; raises if any symbol fails."""
        return self.fetch_mark_candles(symbols, start, end).require_all()

    def fetch_candles(
        self, symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime
    ) -> base.Fetched:
        """See `blofin_resources.market.fetching.fetch_candles`."""
        base.require_range(start, end)
        until = min(end, self._clock())
        known, failures = self._split(symbols)
        if known and not failures:
            base.require_begun({symbol: self.first_ts(symbol) for symbol in known}, end, f"{self.identity}")

        length = bar_length(timeframe)

        async def bars(client: BlofinClient, symbol: str, since: datetime, until: datetime) -> pl.DataFrame:
            return await client.candles(symbol, timeframe, since, until)

        async def one(client: BlofinClient, symbol: str) -> pl.DataFrame:
            return await bars(client, symbol, max(start, floor_time(self.first_ts(symbol), length)), until)

        came = self._each(known, one, base.no_candles(), failures)
        return self._settled(came, known, (start, until, length), bars)

    def _settled(
        self,
        came: base.Fetched,
        symbols: Sequence[str],
        stretch: tuple[datetime, datetime, timedelta],
        ask: _Bars,
    ) -> base.Fetched:
        """Add the last bars of symbols for which the exchange had not closed them yet.

        In the second after a bar's end, an exchange may still report it as forming. Symbols without their last bar are
        requested again, at most `_SETTLING_TRIES` times and only close to the present; later, a missing bar is a gap.
        `stretch` is the range that was requested, and the length of its bars.
        """
        start, until, length = stretch
        last = floor_time(until, length) - length
        for _ in range(_SETTLING_TRIES):
            closed = set(came.frame.filter(pl.col("ts") == last)["symbol"])
            late = [symbol for symbol in symbols if symbol not in closed and symbol not in came.failures]
            if not late or last < start or self._clock() - (last + length) > _MINUTE:
                break
            time.sleep(self._settling)

            async def one(client: BlofinClient, symbol: str) -> pl.DataFrame:
                return await ask(client, symbol, max(last, floor_time(self.first_ts(symbol), length)), until)

            again = self._each(late, one, came.frame.clear(), {})
            frame = pl.concat([came.frame, again.frame]).unique(["symbol", "ts"]).sort("symbol", "ts")
            came = base.Fetched(frame, came.failures)
        return came

    def fetch_mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> base.Fetched:
        """See `blofin_resources.market.fetching.fetch_marks`."""
        base.require_range(start, end)
        until = min(end, self._clock())
        known, failures = self._split(symbols)

        async def one(client: BlofinClient, symbol: str) -> pl.DataFrame:
            return await client.mark_candles(symbol, max(start, self.first_ts(symbol)), until)

        came = self._each(known, one, base.no_marks(), failures)
        served = sorted(set(came.frame["symbol"]))  # one without any mark price is not waited for
        return self._settled(came, served, (start, until, _MINUTE), BlofinClient.mark_candles)

    def fetch_funding(self, symbols: Sequence[str], start: datetime, end: datetime) -> base.Fetched:
        """See `blofin_resources.market.fetching.fetch_funding`."""
        base.require_range(start, end)
        until = min(end, self._clock())
        known, failures = self._split(symbols)

        async def one(client: BlofinClient, symbol: str) -> pl.DataFrame:
            return await client.funding(symbol, max(start, self.first_ts(symbol)), until)

        return self._each(known, one, base.no_funding(), failures)

    def tickers(self, symbols: Sequence[str]) -> pl.DataFrame:
        """Return the current tickers, one row per symbol, with `parse.TICKER_SCHEMA`."""
        self._check(symbols)

        async def ask(client: BlofinClient) -> pl.DataFrame:
            return await client.tickers()

        frame = self._run(ask)
        return frame.filter(pl.col("symbol").is_in(list(symbols))).cast(TICKER_SCHEMA)

    def _check(self, symbols: Sequence[str]) -> None:
        base.require_known(symbols, self.symbols(), self.identity)

    def _split(self, symbols: Sequence[str]) -> tuple[list[str], dict[str, MarketError]]:
        """Return the listed symbols, sorted, and an error for each of the others."""
        wanted = sorted(set(symbols))
        listed = set(self.symbols())
        if not listed.intersection(wanted):
            self._check(wanted)
        delisted = "{} is not listed on {} (never was, or no longer)"
        failures = {s: MarketError(delisted.format(s, self.identity)) for s in wanted if s not in listed}
        return [symbol for symbol in wanted if symbol in listed], failures

    def _instruments(self) -> pl.DataFrame:
        """Return the listing, requested again once it is an hour old."""
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
        """Request all symbols concurrently and collect frames and errors separately."""

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
        """Run requests in a thread with its own event loop, so that it may be called from within another loop."""

        async def conversation() -> T:
            async with self._connect() as client:
                self._outage = client.outage = self._outage.resume(client.now())
                return await ask(client)

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, conversation()).result()


def _first(errors: BaseException) -> MarketError:
    """Return the first error inside nested groups."""
    inner = errors
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return inner if isinstance(inner, MarketError) else MarketError(str(inner))
