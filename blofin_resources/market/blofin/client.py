"""Client of the exchange's REST API: rate-limited requests, retries within a bound, paging.

Belongs here: requests, retries, paging. Does not belong here: the form of answers (`parse`), the shared rate limit
(`rate_limiter`), which data is requested (`market`).
"""

import asyncio
import gc
import itertools
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import polars as pl

from blofin_resources.errors import MarketError
from blofin_resources.market.blofin import parse
from blofin_resources.market.blofin.rate_limiter import SharedLimiter
from blofin_resources.market.source import iso, no_candles, no_funding, no_marks
from features.bars import FUNDING_SETTLES, Timeframe, bar_length

T = TypeVar("T")

PATIENCE: Final = 120.0
"""Seconds that one call may take in all, where nothing else is said."""

LONGEST_WAIT: Final = 7200.0
"""Seconds that a request waits for shut-outs to end where it is to wait for them: two of the longest documented."""

_LOG: Final = logging.getLogger(__name__)
_ATTEMPT: Final = 15.0
PAGE: Final = 1440
FUNDING_PAGE: Final = 100
BARS: Final = {"1m": "1m", "5m": "5m", "15m": "15m", "60m": "1H", "4h": "4H", "1d": "1D"}
"""What the exchange calls the bars of a timeframe."""

_SHUT_OUT_SECONDS: Final = 300.0
"""How long a suspension or a ban lasts where the answer does not say."""

_LONGEST_SHUT_OUT: Final = 86_400.0
"""The longest suspension that is believed: a slip in one answer must not shut this machine out for good."""

_FRESH_SECONDS: Final = 60.0
"""After how long without asking a silence is no longer known to go on."""

_FORM_TRIES: Final = 8
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 8.0
_OK: Final = "0"
_UNKNOWN_INSTRUMENT: Final = "152014"
_FINAL_CODES: Final = ("152002", _UNKNOWN_INSTRUMENT)
_RATE_LIMITED: Final = "429"


class UnknownInstrumentError(MarketError):
    """The exchange does not list the instrument, or no longer does."""


class _PassingError(Exception):
    """A transient failure; a retry may succeed."""


class _ShutOutError(_PassingError):
    """The exchange blocks this address for `seconds`."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


@dataclass
class OutageTracker:
    """Measures how long the exchange has returned no usable answer to any request.

    Attributes
    ----------
    since, last
        Start of the first failed attempt since the last answer, and end of the latest failed attempt, in seconds of
        the limiter's clock; None after an answer.
    verdict
        The error of the request that ran out of time; queued requests raise it too.
    """

    since: float | None = None
    last: float | None = None
    verdict: MarketError | None = None

    def extend(self, begun: float, failed: float) -> None:
        """Record one more failed attempt."""
        self.since, self.last = begun if self.since is None else min(self.since, begun), failed

    def reset(self) -> None:
        """Forget the outage after an answer."""
        self.since = self.last = self.verdict = None

    def resume(self, now: float) -> "OutageTracker":
        """Return the tracker for a new connection: this outage if it is recent, without its verdict, else none."""
        fresh = self.last is not None and now - self.last <= _FRESH_SECONDS
        return OutageTracker(self.since, self.last) if fresh else OutageTracker()


class BlofinClient:
    """Reads the exchange's public market data. An async context manager.

    Parameters
    ----------
    url : str
        Address of the API, without path.
    limiter : SharedLimiter
        Rate limit shared by all processes of this machine.
    bound : float, optional
        Seconds allowed for one request, retries and waiting included, and for all requests together without any usable
        answer.
    attempt : float, optional
        Seconds allowed for one attempt, from connecting to the last byte.
    wait : float, optional
        Further seconds that one request may wait, in all, for a stated end of a block by the exchange.
    parallel : int, optional
        Largest number of concurrent requests.
    sleep : callable, optional
        Waits for some seconds of the limiter's clock.
    jitter : Random, optional
        Spreads the pauses between retries.

    Raises
    ------
    MarketError
        By every method: no usable answer within the bound, this address is blocked for longer than that, the request
        was refused, or the answers do not have the documented form (the text shows one, shortened).
    """

    def __init__(
        self,
        url: str,
        limiter: SharedLimiter,
        *,
        bound: float = PATIENCE,
        attempt: float = _ATTEMPT,
        wait: float = 0.0,
        parallel: int = 8,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: random.Random | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._limiter = limiter
        self._bound = bound
        self._attempt = attempt
        self._wait = wait
        self._announced: float = 0.0
        self._sleep = sleep
        self._jitter = jitter or random.Random(time.time_ns())  # noqa: S311 - spreads pauses, guards nothing
        self._parallel = asyncio.Semaphore(parallel)
        self.outage = OutageTracker()
        limits = httpx.Limits(max_connections=parallel, max_keepalive_connections=parallel)
        self._http = httpx.AsyncClient(base_url=self._url, timeout=attempt, limits=limits, follow_redirects=False)

    async def __aenter__(self) -> Self:
        """Open the connections."""
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._http.__aexit__(kind, error, trace)

    def now(self) -> float:
        """Return the limiter's time, in seconds."""
        return self._limiter.now()

    async def candles(self, symbol: str, timeframe: Timeframe, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the closed bars with `start <= ts`, closed by `end`, with `CANDLE_SCHEMA`, oldest first.

        The range is split into windows of at most 1440 bars that are requested concurrently. Each window is paged
        backward until its start is reached or the exchange has nothing older, so a short page loses nothing. A bar
        that the exchange does not have is a missing row.

        Parameters
        ----------
        symbol : str
            Instrument, such as `BTC-USDT`.
        timeframe : Timeframe
            Length of the bars, which the exchange gives as such.
        start, end : datetime
            Range (UTC).

        Returns
        -------
        DataFrame
            `CANDLE_SCHEMA`, oldest first.
        """

        def parser(symbol: str, data: object) -> pl.DataFrame:
            return parse.candles(symbol, data, timeframe)

        return await self._windows("candles", symbol, timeframe, (start, end), parser, no_candles())

    async def mark_candles(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the closed 1-minute bars of the mark price with `MARK_SCHEMA`; arguments as in `candles`."""
        return await self._windows("mark-price-candles", symbol, "1m", (start, end), parse.mark_candles, no_marks())

    async def funding(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the funding paid at `start <= ts <= end`, each payment at its due time.

        Parameters
        ----------
        symbol : str
            Instrument, such as `BTC-USDT`.
        start, end : datetime
            Range (UTC), both ends included.

        Returns
        -------
        DataFrame
            `FUNDING_SCHEMA`, oldest first.

        Raises
        ------
        MarketError
            Also if two pages hold the same payment.
        """
        first, cursor = _ms(start), _ms(end + FUNDING_SETTLES) + 1
        pages = [no_funding()]
        while cursor > first:
            query = {"instId": symbol, "after": str(cursor), "limit": str(FUNDING_PAGE)}
            page, cursor = await self._page("funding-rate-history", query, parse.funding, cursor)
            pages.append(page)
        paid = pl.concat(pages).filter(pl.col("ts").is_between(start, end)).sort("ts")
        twice = paid.filter(pl.col("ts").is_duplicated())
        if twice.height:
            moment, rates = twice["ts"][0], twice["rate"].head(2).to_list()
            msg = f"{self._url} gives the payment of {symbol} at {iso(moment)} twice, with rates {rates}"
            raise MarketError(msg)
        return paid

    async def instruments(self, as_of: datetime) -> pl.DataFrame:
        """Return the linear perpetuals currently listed, with `INSTRUMENT_SCHEMA`, stamped `as_of`."""
        return await self._get("instruments", {}, lambda data: parse.instruments(data, as_of))

    async def maintenance_rate(self, symbol: str) -> float:
        """Return the maintenance margin rate of the lowest tier with isolated margin."""
        return await self._get("position-tiers", {"instId": symbol, "marginMode": "isolated"}, parse.maintenance_rate)

    async def tickers(self) -> pl.DataFrame:
        """Return the current tickers with `TICKER_SCHEMA`."""
        return await self._get("tickers", {}, parse.tickers)

    async def _windows(
        self,
        what: str,
        symbol: str,
        timeframe: Timeframe,
        stretch: tuple[datetime, datetime],
        parser: Callable[[str, object], pl.DataFrame],
        nothing: pl.DataFrame,
    ) -> pl.DataFrame:
        length = round(bar_length(timeframe).total_seconds() * 1000)
        first = -(-_ms(stretch[0]) // length) * length
        last = _ms(stretch[1]) // length * length
        step = PAGE * length
        windows = [(max(upper - step, first), upper) for upper in range(last, first, -step)]
        asked = {"instId": symbol, "bar": BARS[timeframe], "limit": str(PAGE)}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._window(what, asked, window, parser)) for window in windows]
        return pl.concat([nothing, *(task.result() for task in reversed(tasks))])

    async def _window(
        self,
        what: str,
        asked: dict[str, str],
        window: tuple[int, int],
        parser: Callable[[str, object], pl.DataFrame],
    ) -> pl.DataFrame:
        """Walk backward from a window's end to its start."""
        first, cursor = window
        pages = []
        while cursor > first:
            page, cursor = await self._page(what, {**asked, "after": str(cursor)}, parser, cursor)
            pages.append(page)
        bars = pages[0] if len(pages) == 1 else pl.concat(reversed(pages))
        # a page that goes on before the window, since bars inside it are missing
        return bars.filter(pl.col("ts") >= datetime.fromtimestamp(first / 1000, UTC)) if 0 < cursor < first else bars

    async def _page(
        self, what: str, query: dict[str, str], parser: Callable[[str, object], pl.DataFrame], cursor: int
    ) -> tuple[pl.DataFrame, int]:
        """Return one page and the cursor of the next; zero where nothing is older."""

        def read(data: object) -> tuple[pl.DataFrame, int]:
            page = parser(query["instId"], data)
            if isinstance(data, list) and data:
                newest = parse.oldest(data[:1])
                if newest is not None and newest >= cursor:
                    wrong = f"rows that are not older than after={cursor}"
                    raise parse.FormError(wrong, data)
            return page, parse.oldest(data) or 0

        return await self._get(what, query, read)

    async def _get(self, what: str, query: dict[str, str], read: Callable[[object], T]) -> T:
        """Request until an answer can be read, a refusal is final, or the bound is reached."""
        async with self._parallel:
            path = f"/api/v1/market/{what}"
            named = f"GET {path} for {query['instId']}" if "instId" in query else f"GET {path}"
            started, patience = self._limiter.now(), self._wait
            for tries in itertools.count(1):
                if self.outage.verdict is not None:
                    raise self.outage.verdict
                waited = await self._slot(self._deadline(started), patience, named)
                started, patience = started + waited, patience - waited
                begun = self._limiter.now()
                try:
                    answer = await self._once(path, query, named)
                    with _uncollected():
                        data = self._data(answer, named)
                        self.outage.reset()
                        return read(data)
                except _PassingError as error:
                    last: Exception = error
                    self.outage.extend(begun, self._limiter.now())
                    if isinstance(error, _ShutOutError):
                        self._limiter.trip(error.seconds)
                except parse.FormError as error:
                    last = error
                    if tries >= _FORM_TRIES:
                        msg = f"the answer of {self._url} to {named} is not as documented: {error}"
                        raise MarketError(msg) from error
                # not a retry library's: the bound is that of an outage which all requests share
                pause = min(_FIRST_PAUSE * 2.0 ** (tries - 1), _LONGEST_PAUSE) * self._jitter.uniform(0.5, 1.5)
                if self._limiter.now() + pause > self._deadline(started):
                    raise self._gave_up(named, tries, last) from last
                await self._sleep(pause)
        raise AssertionError  # pragma: no cover - the loop has no end of its own

    def _deadline(self, started: float) -> float:
        """Return the deadline of a request: its own bound, or that of an outage that began before it."""
        since = self.outage.since
        return (started if since is None else min(started, since)) + self._bound

    def _gave_up(self, named: str, tries: int, last: Exception) -> MarketError:
        if self.outage.verdict is not None:
            return self.outage.verdict
        error = MarketError(
            f"{self._url} gave no usable answer to {named} within {self._bound:g} s "
            f"({tries} tries, the last: {last}); stored data is kept; run again later"
        )
        if self.outage.since is not None and self._limiter.now() - self.outage.since >= self._bound / 2:
            self.outage.verdict = error
        return error

    async def _slot(self, deadline: float, patience: float, named: str) -> float:
        """Wait for this request's turn; return the seconds of `patience` that a shut-out beyond the deadline took."""
        waited = 0.0
        while True:
            open_until = self._limiter.open_until()
            rest = open_until - self._limiter.now()
            if not open_until:
                await self._sleep(max(self._limiter.reserve() - self._limiter.now(), 0.0))
                if not self._limiter.open_until():
                    return waited
                continue
            moment = iso(datetime.fromtimestamp(open_until + 60, UTC))
            reason = "too many requests, or its firewall"
            if open_until > deadline + waited:
                if rest > patience - waited:
                    msg = (
                        f"{self._url} is blocking this address ({reason}): {named} not sent; run again after "
                        f"{moment}, or let it wait: blofin run --wait, or BLOFIN_API_PATIENCE={rest + self._bound:.0f}"
                    )
                    raise MarketError(msg)
                waited += rest
                self.outage.reset()  # it has said until when
            if open_until > self._announced:
                self._announced = open_until
                _LOG.warning("%s is blocking this address (%s): waiting until %s", self._url, reason, moment)
            await self._sleep(rest)

    async def _once(self, path: str, query: dict[str, str], named: str) -> httpx.Response:
        """Send one request and return its answer, which has a body to be read."""
        try:
            async with asyncio.timeout(self._attempt):
                answer = await self._http.get(path, params=query)
        except (httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
            text = f"{type(error).__name__} {error}".strip()
            raise _PassingError(text) from error
        if answer.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.FORBIDDEN):
            text = f"HTTP {answer.status_code}"
            raise _ShutOutError(text, _stated_seconds(answer))
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            text = f"HTTP {answer.status_code}"
            raise _PassingError(text)
        if answer.status_code != httpx.codes.OK:
            msg = f"{self._url} refused {named}: HTTP {answer.status_code} {answer.text[:200]!r}"
            raise MarketError(msg)
        return answer

    def _data(self, answer: httpx.Response, named: str) -> object:
        """Return the data of an answer."""
        try:
            envelope: Any = answer.json()
        except ValueError as error:
            what = "not JSON"
            raise parse.FormError(what, answer.text) from error
        if not (isinstance(envelope, dict) and isinstance(envelope.get("code"), str)):
            what = "no envelope with a code"
            raise parse.FormError(what, envelope)
        code, text = envelope["code"], envelope.get("msg")
        if code == _OK and "data" in envelope:
            return envelope["data"]
        if code == _RATE_LIMITED:
            text = f"code {code} {text}"
            raise _ShutOutError(text, _stated_seconds(answer))
        if code == _UNKNOWN_INSTRUMENT:
            msg = f"{self._url} does not know the instrument of {named} (code {code}: {text}); is it still listed?"
            raise UnknownInstrumentError(msg)
        if code in _FINAL_CODES:
            msg = f"{self._url} refused {named}: code {code} {text}"
            raise MarketError(msg)
        text = f"code {code} {text}"
        raise _PassingError(text)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector while an answer is parsed.

    A page is 13,000 strings in 1,440 lists without cycles; repeated collections took a quarter of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _stated_seconds(answer: httpx.Response) -> float:
    """Return the stated duration of a block, or the documented five minutes if none is stated.

    A value that is not finite is ignored, and the duration is capped at `_LONGEST_SHUT_OUT`.
    """
    try:
        stated = float(answer.headers["retry-after"])
    except (KeyError, ValueError):
        return _SHUT_OUT_SECONDS
    return min(max(stated, 0.0), _LONGEST_SHUT_OUT) if math.isfinite(stated) else _SHUT_OUT_SECONDS


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
