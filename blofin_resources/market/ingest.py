"""Between a source and the store: what to fetch, what came, and what the source has changed since.

Belongs here: pure functions over coverage and candles, and the fetch that keeps one symbol's failure from costing the
others. Does not belong here: the store itself, gaps (`gaps`), any one source.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol, runtime_checkable

import polars as pl

from blofin_resources.errors import MarketError
from blofin_resources.market.base import Fetched, MarketSource, no_candles, no_funding, no_marks
from features.bars import TS

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
"""Columns that a source may revise, and what they are called in the log."""

_KEY: Final = ["symbol", "ts"]


@runtime_checkable
class _KeepsFailuresApart(Protocol):
    """A source that asks for many symbols at once and keeps what came apart from what failed."""

    def fetch_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> Fetched: ...

    def fetch_funding(self, symbols: Sequence[str], start: datetime, end: datetime) -> Fetched: ...

    def fetch_mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> Fetched: ...


class Stretch(NamedTuple):
    """A range that some symbols lack: to be fetched in one go."""

    symbols: tuple[str, ...]
    start: datetime
    end: datetime


def fetch_candles(source: MarketSource, symbols: Sequence[str], start: datetime, end: datetime) -> Fetched:
    """Return the 1-minute bars of every symbol that could be had, and the errors of the others.

    Store the frame first, then call `Fetched.require_all`, which fails and names the symbols.
    """
    if isinstance(source, _KeepsFailuresApart):
        return source.fetch_candles(symbols, start, end)
    return _one_by_one(lambda symbol: source.candles_1m([symbol], start, end), symbols, no_candles())


def fetch_funding(source: MarketSource, symbols: Sequence[str], start: datetime, end: datetime) -> Fetched:
    """Return the funding of every symbol that could be had, and the errors of the others."""
    if isinstance(source, _KeepsFailuresApart):
        return source.fetch_funding(symbols, start, end)
    return _one_by_one(lambda symbol: source.funding([symbol], start, end), symbols, no_funding())


def fetch_marks(source: MarketSource, symbols: Sequence[str], start: datetime, end: datetime) -> Fetched:
    """Return the mark-price bars of every symbol that could be had, and the errors of the others."""
    if isinstance(source, _KeepsFailuresApart):
        return source.fetch_mark_candles(symbols, start, end)
    return _one_by_one(lambda symbol: source.mark_candles_1m([symbol], start, end), symbols, no_marks())


def stretches_to_fetch(
    coverage: pl.DataFrame, symbols: Sequence[str], start: datetime, end: datetime, overlap: timedelta = timedelta()
) -> list[Stretch]:
    """Return what is not stored yet between `start` and `end`.

    Parameters
    ----------
    coverage : DataFrame
        Columns symbol, day (Date) and through: everything of the day up to `through` is stored.
    symbols : sequence of str
        Whose data is wanted.
    start, end : datetime
        The range wanted.
    overlap : timedelta, optional
        How much of what is stored before each stretch to fetch again, to notice late revisions.

    Returns
    -------
    list of Stretch
        Ranges in time order; symbols that lack the same range share one stretch.
    """
    lacking: dict[tuple[datetime, datetime], list[str]] = {}
    for symbol in sorted(set(symbols)):
        rows = coverage.filter(pl.col("symbol") == symbol).select("day", "through").iter_rows()
        stored = dict(rows)
        for first, last in _lacking(stored, start, end):
            lacking.setdefault((max(first - overlap, start), last), []).append(symbol)
    return [Stretch(tuple(names), first, last) for (first, last), names in sorted(lacking.items())]


def in_chunks(stretches: Sequence[Stretch], days: int = 7) -> list[Stretch]:
    """Cut stretches at midnight UTC into pieces of at most `days` days.

    Each piece is fetched and stored by itself, so an interruption costs one piece and memory stays bounded.
    """
    pieces = []
    for stretch in stretches:
        first = stretch.start
        while first < stretch.end:
            midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
            last = min(midnight + timedelta(days=days), stretch.end)
            pieces.append(Stretch(stretch.symbols, first, last))
            first = last
    return pieces


def revisions(
    stored: pl.DataFrame, fresh: pl.DataFrame, seen_at: datetime, fields: Mapping[str, str] = REVISED_CANDLES
) -> pl.DataFrame:
    """Return every value of a stored bar or payment that the source now gives differently.

    Parameters
    ----------
    stored, fresh : DataFrame
        Rows by symbol and ts, as stored and as fetched now; those in one of them only are no revisions.
    seen_at : datetime
        The as-of of this look.
    fields : dict of str to str, optional
        Columns to compare, and what each is called in the log.

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
    """Return the rows to store, bars or payments: the fresh ones, and the stored ones that the source gives no more.

    What was once seen closed stays: a source that loses its history does not take ours along.
    """
    kept = stored.join(fresh, on=_KEY, how="anti").select(fresh.columns)
    return pl.concat([fresh, kept]).sort(_KEY)


def over_network(source: MarketSource) -> bool:
    """Return whether a source is asked over the network, where a request costs time and may fail."""
    return isinstance(source, _KeepsFailuresApart)


def _one_by_one(ask: Callable[[str], pl.DataFrame], symbols: Sequence[str], nothing: pl.DataFrame) -> Fetched:
    """Ask for each symbol by itself and keep what came apart from what failed."""
    frames, failures = [nothing], {}
    for symbol in sorted(set(symbols)):
        try:
            frames.append(ask(symbol))
        except MarketError as error:
            failures[symbol] = error
    return Fetched(pl.concat(frames), failures)


def _lacking(stored: dict[object, datetime], start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return the ranges of one symbol that are not stored, neighbours joined."""
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
