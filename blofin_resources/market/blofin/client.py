"""Asking the exchange: one request at a time slot, again where it makes sense, never for longer than agreed.

Belongs here: requests, retries, paging. Does not belong here: the form of answers (`parse`), the shared allowance
(`limit`), who asks for what (`market`).
"""

import asyncio
import gc
import itertools
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
from blofin_resources.market.base import iso, no_candles, no_funding, no_marks
from blofin_resources.market.blofin import parse
from blofin_resources.market.blofin.limit import SharedLimiter

T = TypeVar("T")

PATIENCE: Final = 120.0
"""Seconds that one call may take in all, where nothing else is said."""

_ATTEMPT: Final = 15.0
PAGE: Final = 1440
FUNDING_PAGE: Final = 100
_MINUTE_MS: Final = 60_000
_SHUT_OUT_SECONDS: Final = 300.0
"""How long a suspension or a ban lasts where the answer does not say."""

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
    """The exchange does not know the instrument, or no longer."""


class _PassingError(Exception):
    """A failure that another try may not meet."""


class _ShutOutError(_PassingError):
    """The exchange refuses this address for `seconds`."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


@dataclass
class Silence:
    """For how long the exchange has given no usable answer to anything; whoever asks on takes it along.

    Attributes
    ----------
    since, last
        When the first try that failed since an answer came was begun, and when the last one failed, in seconds of the
        limiter's clock; None after an answer.
    verdict
        The error of the request that ran out of time; those that wait in line share it.
    """

    since: float | None = None
    last: float | None = None
    verdict: MarketError | None = None

    def go_on(self, begun: float, failed: float) -> None:
        """Bear it for one more failed try."""
        self.since, self.last = begun if self.since is None else min(self.since, begun), failed

    def end(self) -> None:
        """Forget it: an answer came."""
        self.since = self.last = self.verdict = None

    def carried(self, now: float) -> "Silence":
        """Return what a new conversation begins with: this silence if it is fresh, to be heard once more."""
        fresh = self.last is not None and now - self.last <= _FRESH_SECONDS
        return Silence(self.since, self.last) if fresh else Silence()


class BlofinClient:
    """Reads the exchange's public market data. An async context manager.

    Parameters
    ----------
    url : str
        Address of the API, without path.
    limiter : SharedLimiter
        The machine's allowance.
    bound : float, optional
        Seconds that one request may take in all, retries and waiting included, and for which all requests together may
        go without any usable answer.
    attempt : float, optional
        Seconds that one try may take, from connecting to the last byte.
    parallel : int, optional
        Requests under way at once.
    sleep : callable, optional
        Waits for some seconds of the limiter's clock.
    jitter : Random, optional
        Spreads the pauses between tries.

    Raises
    ------
    MarketError
        By every method: the exchange did not answer within the bound, shut this address out for longer than that,
        refused the request, or kept giving answers of an undocumented form (shown shortened).
    """

    def __init__(
        self,
        url: str,
        limiter: SharedLimiter,
        *,
        bound: float = PATIENCE,
        attempt: float = _ATTEMPT,
        parallel: int = 8,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: random.Random | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._limiter = limiter
        self._bound = bound
        self._attempt = attempt
        self._sleep = sleep
        self._jitter = jitter or random.Random(time.time_ns())  # noqa: S311 - spreads pauses, guards nothing
        self._parallel = asyncio.Semaphore(parallel)
        self.silence = Silence()
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

    async def candles(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the closed 1-minute bars with `start <= ts`, closed by `end`, with `CANDLE_SCHEMA`, oldest first.

        The range is cut into windows of at most 1440 minutes, which are asked for at the same time; each is walked
        backward until its start is reached or the exchange has nothing older, so a page that is shorter than asked
        loses nothing. A bar that the exchange does not have is a missing row.
        """
        return await self._windows("candles", symbol, start, end, parse.candles, no_candles())

    async def mark_candles(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the closed 1-minute bars of the mark price with `MARK_SCHEMA`; range as of `candles`."""
        return await self._windows("mark-price-candles", symbol, start, end, parse.mark_candles, no_marks())

    async def funding(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the funding paid at `start <= ts <= end` with `FUNDING_SCHEMA`, at its actual times."""
        first, cursor = _ms(start), _ms(end) + 1
        pages = [no_funding()]
        while cursor > first:
            query = {"instId": symbol, "after": str(cursor), "limit": str(FUNDING_PAGE)}
            page, cursor = await self._page("funding-rate-history", query, parse.funding, cursor)
            pages.append(page)
        return pl.concat(pages).filter(pl.col("ts") >= start).sort("ts")

    async def instruments(self, as_of: datetime) -> pl.DataFrame:
        """Return the linear perpetuals that the exchange lists now, with `INSTRUMENT_SCHEMA`, stamped `as_of`."""
        return await self._get("instruments", {}, lambda data: parse.instruments(data, as_of))

    async def maintenance_rate(self, symbol: str) -> float:
        """Return the maintenance margin rate of the lowest tier with isolated margin."""
        return await self._get("position-tiers", {"instId": symbol, "marginMode": "isolated"}, parse.maintenance_rate)

    async def tickers(self) -> pl.DataFrame:
        """Return the market now with `TICKER_SCHEMA`."""
        return await self._get("tickers", {}, parse.tickers)

    async def _windows(
        self,
        what: str,
        symbol: str,
        start: datetime,
        end: datetime,
        parser: Callable[[str, object], pl.DataFrame],
        nothing: pl.DataFrame,
    ) -> pl.DataFrame:
        first = -(-_ms(start) // _MINUTE_MS) * _MINUTE_MS
        last = _ms(end) // _MINUTE_MS * _MINUTE_MS
        step = PAGE * _MINUTE_MS
        windows = [(max(upper - step, first), upper) for upper in range(last, first, -step)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._window(what, symbol, window, parser)) for window in windows]
        return pl.concat([nothing, *(task.result() for task in reversed(tasks))])

    async def _window(
        self, what: str, symbol: str, window: tuple[int, int], parser: Callable[[str, object], pl.DataFrame]
    ) -> pl.DataFrame:
        """Walk backward from a window's end to its start."""
        first, cursor = window
        pages = []
        while cursor > first:
            query = {"instId": symbol, "bar": "1m", "after": str(cursor), "limit": str(PAGE)}
            page, cursor = await self._page(what, query, parser, cursor)
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
        """Ask until an answer can be read, a refusal is final, or the bound is reached."""
        async with self._parallel:
            path = f"/api/v1/market/{what}"
            named = f"GET {path} for {query['instId']}" if "instId" in query else f"GET {path}"
            started = self._limiter.now()
            for tries in itertools.count(1):
                if self.silence.verdict is not None:
                    raise self.silence.verdict
                await self._slot(self._deadline(started), named)
                begun = self._limiter.now()
                try:
                    answer = await self._once(path, query, named)
                    with _uncollected():
                        data = self._data(answer, named)
                        self.silence.end()
                        return read(data)
                except _PassingError as error:
                    last: Exception = error
                    self.silence.go_on(begun, self._limiter.now())
                    if isinstance(error, _ShutOutError):
                        self._limiter.shut(error.seconds)
                except parse.FormError as error:
                    last = error
                    if tries >= _FORM_TRIES:
                        msg = f"the answer of {self._url} to {named} is not as documented: {error}"
                        raise MarketError(msg) from error
                pause = min(_FIRST_PAUSE * 2.0 ** (tries - 1), _LONGEST_PAUSE) * self._jitter.uniform(0.5, 1.5)
                if self._limiter.now() + pause > self._deadline(started):
                    raise self._gave_up(named, tries, last) from last
                await self._sleep(pause)
        raise AssertionError  # pragma: no cover - the loop has no end of its own

    def _deadline(self, started: float) -> float:
        """Return until when a request may go on: its own bound, or that of a silence which it has not begun."""
        since = self.silence.since
        return (started if since is None else min(started, since)) + self._bound

    def _gave_up(self, named: str, tries: int, last: Exception) -> MarketError:
        if self.silence.verdict is not None:
            return self.silence.verdict
        error = MarketError(
            f"{self._url} gave no usable answer to {named} within {self._bound:g} s "
            f"({tries} tries, the last: {last}); what is stored stays, run again later"
        )
        if self.silence.since is not None and self._limiter.now() - self.silence.since >= self._bound / 2:
            self.silence.verdict = error
        return error

    async def _slot(self, deadline: float, named: str) -> None:
        """Wait for this request's turn."""
        while True:
            shut_until = self._limiter.shut_until()
            if shut_until > deadline:
                moment = iso(datetime.fromtimestamp(shut_until + 60, UTC))
                reason = "too many requests, or its firewall"
                msg = f"{self._url} has shut this address out ({reason}): {named} not sent; run again after {moment}"
                raise MarketError(msg)
            if not shut_until:
                await self._sleep(max(self._limiter.reserve() - self._limiter.now(), 0.0))
                if not self._limiter.shut_until():
                    return
            else:
                await self._sleep(shut_until - self._limiter.now())

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
    """Keep the garbage collector away while an answer is taken apart.

    A page is 13,000 texts in 1,440 lists and no cycle: to look through them again and again took a quarter of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _stated_seconds(answer: httpx.Response) -> float:
    """Return for how long the exchange says that it is shut; the documented five minutes where it does not."""
    try:
        return max(float(answer.headers["retry-after"]), 0.0)
    except (KeyError, ValueError):
        return _SHUT_OUT_SECONDS


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
