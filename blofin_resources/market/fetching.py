"""Plan fetches, fetch each symbol on its own, and compare the result with what is stored.

Belongs here: pure functions over coverage and candles, and a fetch in which one failing symbol does not affect the
others. Does not belong here: the store itself, gaps (`gaps`), any one source.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol, runtime_checkable

import polars as pl

from blofin_resources.errors import MarketError
from blofin_resources.market.source import (
    Fetched,
    HasPositioning,
    MarketSource,
    NotBegunError,
    no_candles,
    no_funding,
    no_marks,
    no_positioning,
)
from features.bars import POSITIONING_SCHEMA, TS, Timeframe

REVISION_SCHEMA: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "ts": TS,
        "field": pl.String(),
        "old_value": pl.String(),
        "new_value": pl.String(),
        "seen_at": TS,
    }
)
"""One changed value of one stored bar or payment, both values as text in the unit of the column."""

_PRICES_AND_VOLUMES: Final = ("open", "high", "low", "close", "volume", "quote_volume", "contracts")
REVISED_CANDLES: Final = {name: name for name in (*_PRICES_AND_VOLUMES, "flag")}
REVISED_FUNDING: Final = {"rate": "funding_rate"}
REVISED_MARKS: Final = {name: f"mark_{name}" for name in ("open", "high", "low", "close")}
REVISED_POSITIONING: Final = {name: name for name in POSITIONING_SCHEMA if name not in ("symbol", "ts")}
"""Columns that a source may revise, and what they are called in the log."""

_KEY: Final = ["symbol", "ts"]


@runtime_checkable
class _KeepsFailuresApart(Protocol):
    """A source that requests many symbols at once and returns frames and errors separately."""

    def fetch_candles(
        self, symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime
    ) -> Fetched: ...

    def fetch_funding(self, symbols: Sequence[str], start: datetime, end: datetime) -> Fetched: ...

    def fetch_mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> Fetched: ...


class Interval(NamedTuple):
    """A time range that some symbols lack, to be fetched in one go."""

    symbols: tuple[str, ...]
    start: datetime
    end: datetime


def fetch_candles(
    source: MarketSource, symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime
) -> Fetched:
    """Fetch the bars of each symbol, and collect errors by symbol.

    Store the frame first, then call `Fetched.require_all`, which raises an error that names the failed symbols.

    Parameters
    ----------
    source : MarketSource
        The source to ask.
    symbols : sequence of str
        Symbols to fetch.
    timeframe : Timeframe
        Length of the bars.
    start, end : datetime
        Bars with `start <= ts`, closed by `end` (UTC).

    Returns
    -------
    Fetched
        Bars with `CANDLE_SCHEMA`, and the error of each symbol that failed.
    """
    if isinstance(source, _KeepsFailuresApart):
        return source.fetch_candles(symbols, timeframe, start, end)
    return _one_by_one(lambda symbol: source.candles([symbol], timeframe, start, end), symbols, no_candles())


def fetch_funding(source: MarketSource, symbols: Sequence[str], start: datetime, end: datetime) -> Fetched:
    """Fetch the funding of each symbol, and collect errors by symbol.

    Parameters
    ----------
    source, symbols
        As in `fetch_candles`.
    start, end : datetime
        Payments with `start <= ts <= end` (UTC).

    Returns
    -------
    Fetched
        Payments with `FUNDING_SCHEMA`, and the error of each symbol that failed.
    """
    if isinstance(source, _KeepsFailuresApart):
        return source.fetch_funding(symbols, start, end)
    return _one_by_one(lambda symbol: source.funding([symbol], start, end), symbols, no_funding())


def fetch_marks(source: MarketSource, symbols: Sequence[str], start: datetime, end: datetime) -> Fetched:
    """Fetch the mark-price bars of each symbol, and collect errors by symbol.

    Parameters
    ----------
    source, symbols
        As in `fetch_candles`.
    start, end : datetime
        Bars with `start <= ts`, closed by `end` (UTC).

    Returns
    -------
    Fetched
        Bars with `MARK_SCHEMA`, and the error of each symbol that failed.
    """
    if isinstance(source, _KeepsFailuresApart):
        return source.fetch_mark_candles(symbols, start, end)
    return _one_by_one(lambda symbol: source.mark_candles_1m([symbol], start, end), symbols, no_marks())


def fetch_positioning(source: MarketSource, symbols: Sequence[str], start: datetime, end: datetime) -> Fetched:
    """Fetch the positioning data of each symbol, and collect errors by symbol.

    Parameters
    ----------
    source, symbols
        As in `fetch_candles`.
    start, end : datetime
        Values known at `start <= ts <= end` (UTC).

    Returns
    -------
    Fetched
        Rows with `POSITIONING_SCHEMA`, and the error of each symbol that failed; nothing from a source without them.
    """
    if not isinstance(source, HasPositioning):
        return Fetched(no_positioning(), {})
    return _one_by_one(lambda symbol: source.positioning([symbol], start, end), symbols, no_positioning())


def intervals_to_fetch(
    coverage: pl.DataFrame, symbols: Sequence[str], start: datetime, end: datetime, overlap: timedelta = timedelta()
) -> list[Interval]:
    """Return the intervals between `start` and `end` that are not stored yet.

    Parameters
    ----------
    coverage : DataFrame
        Columns symbol, day (Date) and through: everything of the day up to `through` is stored.
    symbols : sequence of str
        Symbols that are wanted.
    start, end : datetime
        The range wanted (UTC).
    overlap : timedelta, optional
        How much stored data before each interval to fetch again, to detect late revisions.

    Returns
    -------
    list of Interval
        Intervals in time order; symbols that lack the same range share one.

    Examples
    --------
    >>> from datetime import UTC, date
    >>> stored = pl.DataFrame(
    ...     {"symbol": ["BTC-USDT"], "day": [date(2025, 6, 1)], "through": [datetime(2025, 6, 1, 18, tzinfo=UTC)]}
    ... )
    >>> start, end = datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 6, 2, tzinfo=UTC)
    >>> [interval] = intervals_to_fetch(stored, ["BTC-USDT"], start, end)
    >>> f"{interval.start:%H:%M} to {interval.end:%d %B}"
    '18:00 to 02 June'
    """
    lacking: dict[tuple[datetime, datetime], list[str]] = {}
    for symbol in sorted(set(symbols)):
        rows = coverage.filter(pl.col("symbol") == symbol).select("day", "through").iter_rows()
        stored = dict(rows)
        for first, last in _lacking(stored, start, end):
            lacking.setdefault((max(first - overlap, start), last), []).append(symbol)
    return [Interval(tuple(names), first, last) for (first, last), names in sorted(lacking.items())]


def in_chunks(stretches: Sequence[Interval], days: int = 7) -> list[Interval]:
    """Cut intervals at midnight UTC into chunks of at most `days` days.

    Each chunk is fetched and stored by itself, so an interruption costs one chunk and memory stays bounded.

    Examples
    --------
    >>> from datetime import UTC
    >>> whole = Interval(("BTC-USDT",), datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 6, 11, tzinfo=UTC))
    >>> [(chunk.start.day, chunk.end.day) for chunk in in_chunks([whole], days=7)]
    [(1, 8), (8, 11)]
    """
    pieces = []
    for stretch in stretches:
        first = stretch.start
        while first < stretch.end:
            midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
            last = min(midnight + timedelta(days=days), stretch.end)
            pieces.append(Interval(stretch.symbols, first, last))
            first = last
    return pieces


def revisions(
    stored: pl.DataFrame, fresh: pl.DataFrame, seen_at: datetime, fields: Mapping[str, str] = REVISED_CANDLES
) -> pl.DataFrame:
    """Return every stored value that the source now reports differently.

    Parameters
    ----------
    stored, fresh : DataFrame
        Rows by symbol and ts, as stored and as fetched now. Rows in only one of them are not revisions.
    seen_at : datetime
        As-of of the fetch.
    fields : dict of str to str, optional
        Columns to compare, and the name of each in the log.

    Returns
    -------
    DataFrame
        `REVISION_SCHEMA`, sorted by (symbol, ts, field).
    """
    both = stored.join(fresh, on=_KEY, suffix="_new")
    changed = [
        both.filter(pl.col(name).ne_missing(pl.col(f"{name}_new"))).select(
            *_KEY,
            field=pl.lit(logged),
            old_value=pl.col(name).cast(pl.String),
            new_value=pl.col(f"{name}_new").cast(pl.String),
            seen_at=pl.lit(seen_at, TS),
        )
        for name, logged in fields.items()
    ]
    return pl.concat(changed).sort(*_KEY, "field")


def merged(stored: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """Return the rows to store: the fetched rows, and stored rows that the source no longer returns.

    A row that was once stored is never dropped because the source lost its history.
    """
    kept = stored.join(fresh, on=_KEY, how="anti").select(fresh.columns)
    return pl.concat([fresh, kept]).sort(_KEY)


def over_network(source: MarketSource) -> bool:
    """Return whether requests to a source go over the network, where they take time and may fail."""
    return isinstance(source, _KeepsFailuresApart)


def _one_by_one(ask: Callable[[str], pl.DataFrame], symbols: Sequence[str], nothing: pl.DataFrame) -> Fetched:
    """Fetch each symbol on its own and collect frames and errors separately; one that has not begun has no rows."""
    frames, failures = [nothing], {}
    for symbol in sorted(set(symbols)):
        try:
            frames.append(ask(symbol))
        except NotBegunError:
            continue
        except MarketError as error:
            failures[symbol] = error
    return Fetched(pl.concat(frames), failures)


def _lacking(stored: dict[object, datetime], start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return the ranges of one symbol that are not stored; adjacent ranges are joined."""
    ranges: list[tuple[datetime, datetime]] = []
    day = start.replace(hour=0, minute=0, second=0, microsecond=0)
    while day < end:
        following = day + timedelta(days=1)
        first, last = max(stored.get(day.date(), day), day, start), min(following, end)
        if first < last:
            if ranges and ranges[-1][1] == first:
                ranges[-1] = (ranges[-1][0], last)
            else:
                ranges.append((first, last))
        day = following
    return ranges
