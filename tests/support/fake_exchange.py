"""A Blofin that runs on this machine: the documented protocol over real HTTP, and every misbehaviour on demand.

It serves frames of candles and funding that it is given, newest first, with exclusive paging, a forming bar and error
codes in HTTP 200. A share of requests, chosen by a seeded generator, can be made to misbehave.
"""

import json
import random
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import polars as pl

from backtester.resampling import aggregate
from features.bars import MINUTES, Timeframe

MINUTE_MS = 60_000

LONGER: tuple[Timeframe, ...] = ("60m", "1d")
TIMEFRAMES: dict[str, Timeframe] = {"1m": "1m", "1H": "60m", "1D": "1d"}
"""Bars that it serves, by the exchange's own names."""

FAULTS = (
    "stall",
    "hang_up",
    "cut_json",
    "html_502",
    "duplicates",
    "shuffled",
    "wrong_types",
    "nan",
    "short_rows",
    "no_envelope",
    "http_429",
    "code_429",
    "http_403",
    "code_500",
)
"""What a misbehaving request can get instead of its answer."""

Rows = list[list[str]]


@dataclass
class Misbehaviour:
    """Which share of the requests goes wrong, how, and by which seed."""

    share: float = 0.0
    kinds: Sequence[str] = FAULTS
    seed: int = 0
    stall_seconds: float = 2.0
    retry_after: str = "1"


@dataclass
class Request:
    """One request as it came in."""

    moment: float
    path: str
    query: dict[str, str]
    fault: str | None


class Book:
    """A market's history in the exchange's own texts, oldest first; made once, served by many exchanges.

    Parameters
    ----------
    candles : DataFrame
        1-minute bars with `CANDLE_SCHEMA`; the bar that holds the clock's moment is served as forming.
    funding : DataFrame
        Payments with `FUNDING_SCHEMA`.
    marks : DataFrame, optional
        1-minute bars of the mark price with `MARK_SCHEMA`; those of the candles where omitted.
    longer : dict of Timeframe to DataFrame, optional
        Longer bars; what the minutes make where omitted.
    """

    def __init__(
        self,
        candles: pl.DataFrame,
        funding: pl.DataFrame,
        marks: pl.DataFrame | None = None,
        longer: Mapping[Timeframe, pl.DataFrame] | None = None,
    ) -> None:
        self._candles = candles
        self._longer = {timeframe: _texts_by_symbol(frame) for timeframe, frame in (longer or {}).items()}
        self.bars = _texts_by_symbol(candles)
        own = (
            {} if marks is None else {str(symbol): _mark_texts(frame) for (symbol,), frame in marks.group_by("symbol")}
        )
        self.marks = {symbol: [[*row[:5], row[8]] for row in rows] for symbol, rows in self.bars.items()} | own
        self.rates = {str(symbol): _rate_texts(frame) for (symbol,), frame in funding.group_by("symbol")}

    def longer(self, timeframe: Timeframe) -> dict[str, Rows]:
        """Return the bars of a timeframe by symbol; made of the minutes at the first call, the last one unfinished."""
        if timeframe not in self._longer:
            until = datetime.max.replace(tzinfo=UTC)
            self._longer[timeframe] = _texts_by_symbol(aggregate(self._candles, timeframe, until))
        return self._longer[timeframe]

    @property
    def opened(self) -> dict[str, str]:
        """The time of each symbol's first bar, of the shortest that it has, in milliseconds."""
        longest_first = sorted(self._longer, key=lambda timeframe: -MINUTES[timeframe])
        tables = [*(self._longer[timeframe] for timeframe in longest_first), self.bars]
        return {symbol: rows[0][0] for table in tables for symbol, rows in table.items()}


@dataclass
class FakeExchange:
    """The server; a context manager. `url` is its address.

    Parameters
    ----------
    book : Book
        What it serves.
    clock : callable
        Tells the exchange's present.
    """

    book: Book
    clock: Callable[[], datetime]
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    most_rows: int = 1440
    down: bool = False
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._chance = random.Random(self.misbehaviour.seed)  # noqa: S311 - chooses faults, guards nothing
        self._bars = dict(self.book.bars)
        self._longer: dict[Timeframe, dict[str, Rows]] = {}
        self._marks = dict(self.book.marks)
        self._rates = dict(self.book.rates)
        self._gone: set[str] = set()
        self._mute: set[str] = set()
        self._markless: set[str] = set()
        exchange = self

        class Handler(_Handler):
            server_exchange = exchange

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def revise(self, symbol: str, moment: datetime, close: str, timeframe: Timeframe = "1m") -> None:
        """Give a past bar another close, as exchanges do."""
        stamp = str(_ms(moment))
        table = self._table(timeframe)
        table[symbol] = [_revised(row, close) if row[0] == stamp else row for row in table[symbol]]

    def revise_mark(self, symbol: str, moment: datetime, close: str) -> None:
        """Give a past bar of the mark price another close."""
        stamp = str(_ms(moment))
        self._marks[symbol] = [_revised(row, close) if row[0] == stamp else row for row in self._marks[symbol]]

    def revise_funding(self, symbol: str, moment: datetime, rate: str) -> None:
        """Give a past payment another rate."""
        stamp = str(_ms(moment))
        self._rates[symbol] = [
            {**row, "fundingRate": rate} if row["fundingTime"] == stamp else row for row in self._rates[symbol]
        ]

    def outage(self, start: datetime, end: datetime) -> None:
        """Lose the bars of every symbol between two times for ever."""
        for table in (self._bars, *map(self._table, LONGER)):
            for symbol, rows in table.items():
                table[symbol] = [row for row in rows if not _ms(start) <= int(row[0]) < _ms(end)]

    def restore(self) -> None:
        """Fill what an outage had lost, list everything again and answer about every symbol."""
        self._bars = dict(self.book.bars)
        self._longer.clear()
        self._marks = dict(self.book.marks)
        self._gone.clear()
        self._mute.clear()
        self._markless.clear()

    def mute(self, symbol: str) -> None:
        """Go on listing a symbol but answer about it with an error."""
        self._mute.add(symbol)

    def mute_marks(self, symbol: str) -> None:
        """Answer with an error where the mark price of a symbol is asked for."""
        self._markless.add(symbol)

    def lose_marks(self, start: datetime, end: datetime) -> None:
        """Lose the mark-price bars of every symbol between two times."""
        for symbol, rows in self._marks.items():
            self._marks[symbol] = [row for row in rows if not _ms(start) <= int(row[0]) < _ms(end)]

    def delist(self, symbol: str) -> None:
        """Let an instrument disappear: it is listed no more and its history answers with code 152014."""
        self._gone.add(symbol)

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of a request; an empty body with status 0 hangs up."""
        with self._lock:
            unlucky = self._chance.random() < self.misbehaviour.share
            fault = self._chance.choice(list(self.misbehaviour.kinds)) if unlucky else None
            self.requests.append(Request(time.time(), path, query, fault))
        if self.down:
            return 0, {}, b""
        name = path.removeprefix("/api/v1/market/").replace("-", "_")
        handler = getattr(self, f"_{name}", None)
        if handler is None:
            return 404, {}, b"not found"
        code, data = handler(query)
        return self._spoil(fault, code, data)

    def _spoil(self, fault: str | None, code: str, data: Any) -> tuple[int, dict[str, str], bytes]:
        good = _envelope(code, data)
        if fault == "stall":
            self._closing.wait(self.misbehaviour.stall_seconds)
        if data and fault in ("duplicates", "shuffled", "wrong_types", "nan", "short_rows"):
            return 200, {}, _envelope(code, self._garble(fault, data))
        wait = {"Retry-After": self.misbehaviour.retry_after}
        wrong: dict[str | None, tuple[int, dict[str, str], bytes]] = {
            "hang_up": (0, {}, b""),
            "cut_json": (200, {}, good[: len(good) * 2 // 3]),
            "html_502": (502, {}, b"<html><body>502 Bad Gateway</body></html>"),
            "no_envelope": (200, {}, json.dumps(data).encode()),
            "http_429": (429, wait, b"too many requests"),
            "code_429": (200, wait, _envelope("429", None)),
            "http_403": (403, wait, b"<html>blocked</html>"),
            "code_500": (200, {}, _envelope("500", None)),
        }
        return wrong.get(fault, (200, {}, good))

    def _garble(self, fault: str, data: list[Any]) -> list[Any]:
        rows = [dict(row) if isinstance(row, dict) else list(row) for row in data]
        chosen = self._chance.randrange(len(rows))
        row = rows[chosen]
        if fault == "duplicates":
            return [*rows[: chosen + 1], *rows[chosen:]]
        if fault == "shuffled" and len(rows) > 1:
            return rows[::-1]
        key: Any = 1 if isinstance(row, list) else next(name for name in reversed(row) if name != "instId")
        if fault == "short_rows":
            del row[key]
        else:
            row[key] = "NaN" if fault == "nan" else 1.25
        return rows

    def _candles(self, query: dict[str, str]) -> tuple[str, Any]:
        bar = query.get("bar", "1m")
        if bar not in TIMEFRAMES:
            return "152002", None
        return self._paged(query, self._table(TIMEFRAMES[bar]), lambda row: int(row[0]), 1440, 500)

    def _table(self, timeframe: Timeframe) -> dict[str, Rows]:
        if timeframe == "1m":
            return self._bars
        with self._lock:
            return self._longer.setdefault(timeframe, dict(self.book.longer(timeframe)))

    def _mark_price_candles(self, query: dict[str, str]) -> tuple[str, Any]:
        if query.get("instId", "") in self._markless:
            return "152002", None
        return self._paged(query, self._marks, lambda row: int(row[0]), 1440, 500)

    def _funding_rate_history(self, query: dict[str, str]) -> tuple[str, Any]:
        return self._paged(query, self._rates, lambda row: int(row["fundingTime"]), 100, 100)

    def _paged(
        self, query: dict[str, str], book: dict[str, Any], moment: Callable[[Any], int], most: int, usual: int
    ) -> tuple[str, Any]:
        symbol = query.get("instId", "")
        if symbol not in book or symbol in self._gone | self._mute:
            return "152014", None
        limit = int(query.get("limit", usual))
        if not 1 <= limit <= most:
            return "152002", None
        limit = min(limit, self.most_rows)
        now = _ms(self.clock())
        rows = book[symbol]
        upper = bisect_right(rows, now, key=moment)
        if "after" in query:
            upper = min(upper, bisect_left(rows, int(query["after"]), key=moment))
        lower = bisect_right(rows, int(query["before"]), key=moment) if "before" in query else 0
        rows = rows[max(lower, upper - limit, 0) : upper][::-1]
        length = MINUTES[TIMEFRAMES[query.get("bar", "1m")]] * MINUTE_MS
        return "0", [_with_confirm(row, now, length) if isinstance(row, list) else row for row in rows]

    def _instruments(self, query: dict[str, str]) -> tuple[str, Any]:
        listed = [symbol for symbol in self.book.opened if symbol not in self._gone]
        if "instId" in query:
            listed = [symbol for symbol in listed if symbol == query["instId"]]
        return "0", [self._instrument(symbol) for symbol in sorted(listed)]

    def _instrument(self, symbol: str) -> dict[str, str]:
        base, quote = symbol.split("-")
        return {
            "instId": symbol,
            "baseCurrency": base,
            "quoteCurrency": quote,
            "contractValue": "0.001",
            "listTime": self.book.opened[symbol],
            "expireTime": "4102444800000",
            "maxLeverage": "125",
            "minSize": "0.1",
            "lotSize": "0.1",
            "tickSize": "0.1",
            "instType": "SWAP",
            "contractType": "linear",
            "state": "live",
        }

    def _position_tiers(self, query: dict[str, str]) -> tuple[str, Any]:
        tier = {"instId": query["instId"], "marginMode": query["marginMode"]}
        return "0", [
            {**tier, "minSize": "100001", "maxSize": "200000", "maintenanceMarginRate": "0.01", "maxLeverage": "50"},
            {**tier, "minSize": "0", "maxSize": "100000", "maintenanceMarginRate": "0.004", "maxLeverage": "125"},
        ]

    def _tickers(self, query: dict[str, str]) -> tuple[str, Any]:
        now = _ms(self.clock())
        names = ("last", "askPrice", "bidPrice", "high24h", "low24h", "open24h")
        rows = []
        for symbol, bars in sorted(self._bars.items()):
            last = [row for row in bars if int(row[0]) <= now][-1]
            sizes = {"askSize": "3", "bidSize": "2", "vol24h": "1000", "volCurrency24h": "1", "ts": str(now)}
            rows.append({"instId": symbol, **dict.fromkeys(names, last[4]), **sizes})
        return "0", [row for row in rows if query.get("instId", row["instId"]) == row["instId"]]


class _Handler(BaseHTTPRequestHandler):
    """Writes the exchange's answers; connections stay open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the acknowledgement of its headers
    server_exchange: FakeExchange

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        status, headers, body = self.server_exchange.answer(parts.path, dict(parse_qsl(parts.query)))
        if status == 0:
            self.close_connection = True
            return
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing: the requests are kept in a list."""


def _envelope(code: str, data: Any) -> bytes:
    message = "success" if code == "0" else f"error {code}"
    return json.dumps({"code": code, "msg": message, **({} if data is None else {"data": data})}).encode()


def _with_confirm(row: list[str], now: int, length: int) -> list[str]:
    return [*row[:-1], "1" if int(row[0]) + length <= now else "0"]


def _revised(row: list[str], close: str) -> list[str]:
    high, low = max(row[2], close, key=float), min(row[3], close, key=float)
    return [*row[:2], high, low, close, *row[5:]]


def _bar_texts(frame: pl.DataFrame) -> Rows:
    """Return bars as the exchange writes them, oldest first."""
    return _texts(frame, ("open", "high", "low", "close", "contracts", "volume", "quote_volume"))


def _texts_by_symbol(frame: pl.DataFrame) -> dict[str, Rows]:
    return {str(symbol): _bar_texts(rows) for (symbol,), rows in frame.group_by("symbol")}


def _mark_texts(frame: pl.DataFrame) -> Rows:
    """Return mark-price bars as the exchange writes them, oldest first."""
    return _texts(frame, ("open", "high", "low", "close"))


def _texts(frame: pl.DataFrame, names: Sequence[str]) -> Rows:
    ordered = frame.sort("ts")
    columns = [ordered["ts"].dt.epoch("ms").cast(pl.String).to_list()]
    columns += [[_decimal(value) for value in ordered[name]] for name in names]
    return [[*row, "1"] for row in zip(*columns, strict=True)]


def _rate_texts(frame: pl.DataFrame) -> list[dict[str, str]]:
    return [
        {"instId": symbol, "fundingRate": _decimal(rate), "fundingTime": str(_ms(ts))}
        for symbol, ts, rate in frame.sort("ts").select("symbol", "ts", "rate").iter_rows()
    ]


def _decimal(value: float) -> str:
    """Return the shortest decimal text, without an exponent, that reads back as `value`."""
    return f"{Decimal(repr(value)):f}"


def _ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1000)
