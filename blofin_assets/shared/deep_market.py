"""The stored market of books: hours or days, funding, the universe and what features read besides.

Belongs here: from deep history in the warehouse to `PreparedMarket`, as of a time. Does not belong here: backtesting
(`backtester`), fetching deep history (`blofin_resources.market.deep`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import polars as pl

from backtester import Beside, PreparedMarket, aggregate, contracts_of
from backtester.simulation.book_kernel import FEWEST, WINDOW
from blofin_resources.errors import BlofinError
from blofin_resources.market.deep import stored_listings
from blofin_resources.warehouse import Warehouse
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MINUTES, Timeframe, bar_length, floor_time
from features.engine import needs
from features.market import Market
from features.registry import warmup_bars
from features.steps import find_steps
from strategies.language.book import Book

_STORED: Final[dict[Timeframe, str]] = {"60m": "market.deep_60m", "1d": "market.deep_1d"}
"""Tables of the timeframes that are fetched as such; 4h is made of hours."""
_CHOSEN: Final = "chosen_today"
RESOLUTION: Final = timedelta(microseconds=1)


@dataclass(frozen=True, eq=False)
class DeepMarket:
    """What a book runs on.

    Attributes
    ----------
    prepared : PreparedMarket
        Bars from as early as the book's features need.
    start, end : datetime
        The window: opening time of the first bar that may trade, and close of the last bar (UTC).
    members : tuple of (int, int)
        Fewest and most members of the universe on a day of the window.
    chosen_today : bool
        Whether a person chose the members, so that the list knows who survived.
    candles, funding : DataFrame
        The bars and payments behind it.
    beside : Beside
        What features read besides.
    """

    prepared: PreparedMarket
    start: datetime
    end: datetime
    members: tuple[int, int]
    chosen_today: bool
    candles: pl.DataFrame
    funding: pl.DataFrame
    beside: Beside

    def frames(self, most: int, start: datetime) -> Market:
        """Return the frames behind it from a time on, of the symbols with the most bars, at most so many.

        Bars of other timeframes and further symbols are all there: a feature reads them from before.
        """
        counts = self.candles.group_by("symbol").len().sort("len", "symbol", descending=[True, False])
        kept = pl.col("symbol").is_in(counts["symbol"].head(most).to_list())
        others = self.beside.candles
        own: Timeframe = self.prepared.market.timeframe
        bars = self.candles.filter(kept, pl.col("ts") >= start)
        if own in others:
            bars = pl.concat([bars, others[own].join(bars, on=["symbol", "ts"], how="anti")]).sort("symbol", "ts")
        market = Market({**others, own: bars}, self.funding.filter(kept))
        positioning = self.beside.positioning
        return market if positioning is None else replace(market, positioning=positioning.filter(kept))


def deep_market(store: Warehouse, book: Book, start: datetime | timedelta | None, end: datetime) -> DeepMarket:
    """See `shared_market`, of one book."""
    return shared_market(store, [book], start, end)


def shared_market(
    store: Warehouse, books: Sequence[Book], start: datetime | timedelta | None, end: datetime
) -> DeepMarket:
    """Read the stored market of books on the same timeframe.

    Parameters
    ----------
    store : Warehouse
        Where deep history is.
    books : sequence of Book
        What will run on it, at least one.
    start : datetime or timedelta, optional
        Opening time of the first bar that may trade (UTC), or the length of the window. By default the first midnight
        at which features and volatilities may be known, and the universe has five members.
    end : datetime
        Later bars, payments and members are not read (UTC).

    Returns
    -------
    DeepMarket
        Of all symbols that were members on a day of the window.

    Raises
    ------
    BlofinError
        If a book needs bars or predictions that deep history does not have, or the window has no bar.

    Notes
    -----
    No look-ahead: members are those of each day, and no delisting is read, since listings are described afterwards.
    """
    timeframe = books[0].timeframe
    for book in books:
        _refuse_unknown(book)
    read = needs(sorted({name for book in books for name in book.features()}), timeframe)
    slowest = max(books, key=_lead)
    lead = _lead(slowest)
    first, last = stored_span(store, timeframe, end)
    universe = store.read(
        "SELECT day, symbol, member, reason FROM market.universe WHERE day <= ? ORDER BY day, symbol", [last.date()]
    )
    members = universe.filter("member")
    enough = _day_of_enough(members)
    if enough is None:
        msg = f"the universe never has {FEWEST} members up to {last:%Y-%m-%d}: see BLOFIN_UNIVERSE, and market.universe"
        raise BlofinError(msg)
    if start is None:
        opens = max(_midnight((first + lead).date()), _midnight(enough))
    else:
        opens = last - start if isinstance(start, timedelta) else start
    if opens >= last:
        msg = (
            f"no {timeframe} bar from {opens:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}: stored bars begin at "
            f"{first:%Y-%m-%d %H:%M}, and {slowest.name} needs {lead.days} days of them before it decides"
        )
        raise BlofinError(msg)
    window = members.filter(pl.col("day") >= opens.date())
    symbols = window["symbol"].unique().sort().to_list()
    begin = max(first, opens - lead)
    candles = stored_bars(store, symbols, timeframe, begin, last)
    others: dict[Timeframe, pl.DataFrame] = {}
    for (symbol, frame), warmup in read.candles.items():
        named = symbols if symbol is None else [symbol]
        found = stored_bars(store, named, frame, begin - (warmup + 1) * bar_length(frame), last)
        both = pl.concat([others[frame], found]) if frame in others else found
        others[frame] = both.unique(["symbol", "ts"]).sort("symbol", "ts")
    funding = stored_funding(store, symbols, begin, last)
    beside = Beside(others, store.positioning(symbols, begin, last) if read.positioning else None)
    prepared = PreparedMarket.of(
        timeframe,
        candles,
        funding,
        universe=universe.select("day", "symbol", "member"),
        contracts=contracts_of(_instruments(store, symbols, last), stored_listings(store, last)),
        beside=beside,
        # the command itself names each
        real_steps=[(symbol, ts) for symbol, ts in find_steps(candles).select("symbol", "ts").iter_rows()],
        end=last,
    )
    counts = window.group_by("day").len()["len"].to_list()
    chosen = bool((window["reason"] == _CHOSEN).any())
    return DeepMarket(prepared, opens, last, (min(counts), max(counts)), chosen, candles, funding, beside)


def universe_start(store: Warehouse, as_of: datetime) -> datetime | None:
    """Return the first midnight with hourly bars and a universe of five members, as known at a time; None without."""
    days = store.read("SELECT day, symbol FROM market.universe WHERE member AND day <= ?", [as_of.date()])
    enough = _day_of_enough(days)
    first = store.read("SELECT min(ts) AS ts FROM market.deep_60m WHERE ts < ?", [as_of])["ts"][0]
    if enough is None or first is None:
        return None
    return max(_midnight(enough), _midnight((first.astimezone(UTC) - RESOLUTION).date() + timedelta(days=1)))


def score_lead(book: Book) -> timedelta:
    """Return the time before its window that a book's scores need."""
    return bar_length(book.timeframe) * (warmup_bars(book.features(), book.timeframe) + book.lookback)


def _lead(book: Book) -> timedelta:
    """Return the time before its window that a book's scores, volatilities and betas need."""
    return score_lead(book) + bar_length(book.timeframe) * WINDOW


def _day_of_enough(members: pl.DataFrame) -> date | None:
    """Return the first day on which enough symbols are members for words that compare them; None without."""
    day = members.group_by("day").len().filter(pl.col("len") >= FEWEST)["day"].min()
    return day if isinstance(day, date) else None


def _refuse_unknown(book: Book) -> None:
    if needs(book.features(), book.timeframe).predictions:
        msg = f"{book.name} reads predictions of models, which are made for lanes alone; a universe has none"
        raise BlofinError(msg)
    if MINUTES[book.timeframe] < MINUTES["60m"]:
        msg = f"{book.name} is a book on {book.timeframe}; deep history has hours and days: write it on 60m, 4h or 1d"
        raise BlofinError(msg)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _table(timeframe: Timeframe) -> tuple[str, Timeframe]:
    """Return the table from which bars are read or made, and the length of its bars."""
    own: Timeframe = timeframe if timeframe in _STORED else "60m"
    return _STORED[own], own


def stored_span(store: Warehouse, timeframe: Timeframe, end: datetime) -> tuple[datetime, datetime]:
    """Return the opening of the first stored bar, and the close of the last one by `end`.

    Parameters
    ----------
    store : Warehouse
        Where deep history is.
    timeframe : Timeframe
        Of the bars; 4h is made of hours.
    end : datetime
        Later bars do not count (UTC).

    Returns
    -------
    tuple of datetime
        UTC.

    Raises
    ------
    BlofinError
        If there is none.
    """
    table, own = _table(timeframe)
    sql = f"SELECT min(ts) AS first, max(ts) AS last FROM {table} WHERE ts <= ?"  # noqa: S608 - constant names
    first, last = store.read(sql, [end - bar_length(own)]).row(0)
    if first is None:
        msg = f"no deep history up to {end:%Y-%m-%d %H:%M}; set BLOFIN_UNIVERSE, such as top:30, and run: blofin run"
        raise BlofinError(msg)
    return first.astimezone(UTC), floor_time(last.astimezone(UTC) + bar_length(own), bar_length(timeframe))


def stored_bars(
    store: Warehouse, symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime
) -> pl.DataFrame:
    """Return the stored bars of some symbols, 4h made of hours.

    Parameters
    ----------
    store : Warehouse
        Where deep history is.
    symbols : sequence of str
        Those read; one that is not stored has no rows.
    timeframe : Timeframe
        60m, 4h or 1d.
    start, end : datetime
        Bars that open at or after the one and have closed by the other (UTC).

    Returns
    -------
    DataFrame
        `CANDLE_SCHEMA`, sorted by (symbol, ts).
    """
    table, own = _table(timeframe)
    columns = ", ".join(CANDLE_SCHEMA)
    begin = floor_time(start, bar_length(timeframe))
    stored = store.read(
        f"SELECT {columns} FROM {table} WHERE symbol IN (SELECT unnest(?)) AND ts >= ? AND ts <= ? "  # noqa: S608
        "ORDER BY symbol, ts",
        [list(symbols), begin, end - bar_length(own)],
    ).cast(CANDLE_SCHEMA)
    return stored if own == timeframe else aggregate(stored, timeframe, end)


def stored_funding(store: Warehouse, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """Return the stored payments of some symbols.

    Parameters
    ----------
    store : Warehouse
        Where deep history is.
    symbols : sequence of str
        Those read.
    start, end : datetime
        Both included (UTC).

    Returns
    -------
    DataFrame
        `FUNDING_SCHEMA`, sorted by (symbol, ts).
    """
    return store.read(
        "SELECT symbol, ts, rate FROM market.deep_funding WHERE symbol IN (SELECT unnest(?)) AND ts >= ? AND ts <= ? "
        "ORDER BY symbol, ts",
        [list(symbols), start, end],
    ).cast(FUNDING_SCHEMA)


def _instruments(store: Warehouse, symbols: Sequence[str], end: datetime) -> pl.DataFrame:
    return store.read(
        "SELECT symbol, as_of, contract_value, lot_size, min_size, maintenance_margin_rate FROM market.instruments "
        "WHERE symbol IN (SELECT unnest(?)) AND as_of <= ?",
        [list(symbols), end],
    )
