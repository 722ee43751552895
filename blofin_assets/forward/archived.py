"""What was archived is followed for its evidence: replays that take up where the last one ended.

Belongs here: what such replays read and share. Does not belong here: which versions are followed how long (`tracked`),
replays from activation (`replays`).

A desk of two years follows hundreds of archived versions. Replays from activation would cost as much as all their days
together, so a strategy is taken up from the last moment at which each lane held nothing
(`backtester.evaluation.resuming`), many strategies on the same bars. A book has one capital, so it is run from its
activation, all books of a timeframe on one market. Rows that are stored already are not compared any more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from itertools import groupby
from typing import Any, Final, NamedTuple

import polars as pl

from backtester.evaluation.evaluate import DEFAULT_LOOKBACK, Market, StrategyLike, read_market
from backtester.evaluation.resuming import resume
from backtester.forward_ledger import (
    DIFFERENCE_SCHEMA,
    ENTRY_COLUMNS,
    TRADE_COLUMNS,
    Advance,
    Ledger,
    Replay,
    advance,
    replay_of,
)
from blofin_assets.forward.books import advanced_book
from blofin_assets.forward.replays import Before, Common, Found, blank, found_of, nothing_new
from blofin_assets.forward.tracked import TrackedRun
from blofin_assets.forward.written import IDENTITY
from blofin_assets.shared.deep_market import DeepMarket, shared_market
from blofin_assets.shared.fence import Failed, fenced
from blofin_assets.shared.vocabulary import Kind
from blofin_resources.queries import query
from features import FeatureManager
from features.bars import TS, Timeframe
from strategies.language.book import Book

_DAY: Final = timedelta(days=1)
_OPEN: Final = (
    f"SELECT {', '.join((*IDENTITY, *ENTRY_COLUMNS, 'as_of'))} FROM research.forward_open "  # noqa: S608 - constant names
    "WHERE activated_at IN (SELECT unnest(?)) AND as_of <= ?"
)
_LANE: Final = ("symbol", "timeframe")


class _Rows(NamedTuple):
    """Rows of a record."""

    entries: pl.DataFrame
    trades: pl.DataFrame
    hours: pl.DataFrame


@dataclass(frozen=True, eq=False)
class _Record:
    """A run with what earlier keys wrote of it: its last hour, its open entries, and counts."""

    run: TrackedRun
    horizon: datetime
    open: pl.DataFrame
    before: Before
    until: datetime

    @property
    def held(self) -> dict[tuple[str, Timeframe], datetime]:
        """The lanes with a position, and the opening time of the bar of its entry."""
        return {(symbol, timeframe): ts for symbol, timeframe, ts in self.open.select(*_LANE, "entry_ts").iter_rows()}

    @property
    def rows(self) -> _Rows:
        """Its rows as far as new ones depend on them: open entries, no trade, the last hour."""
        trades = blank(TRADE_COLUMNS).with_columns(pl.lit(None, TS).alias("as_of"))
        return _Rows(self.open, trades, pl.DataFrame({"ts": [self.horizon]}, schema={"ts": TS}))

    @property
    def book(self) -> Book:
        """What it runs, of a book."""
        if not isinstance(self.run.tradable, Book):
            msg = f"{self.run.name} is no book"
            raise TypeError(msg)
        return self.run.tradable

    @property
    def days(self) -> int:
        """Days before `until` that a replay has to begin: a power of two, so that many runs share a market."""
        first = min([self.horizon, *self.held.values()])
        needed = -(-(self.until - first) // _DAY) + 1  # and one more, for the bar of the signal
        return 1 << (needed - 1).bit_length()


def replay_archived(runs: Sequence[TrackedRun], common: Common, as_of: datetime) -> list[tuple[TrackedRun, Found]]:
    """Replay what was archived from where the ledger ends, up to a key.

    Parameters
    ----------
    runs : sequence of TrackedRun
        Strategies and books that were archived.
    common : Common
        Inputs of all runs of the key.
    as_of : datetime
        The key (UTC).

    Returns
    -------
    list of (TrackedRun, Found)
        New rows of each that has any row of an earlier key; one that cannot be run has the state lost, with the reason.
    """
    records = _records(runs, common, as_of)
    found = {id(record): nothing_new() for record in records}
    failed: dict[int, str] = {}
    due = [record for record in records if record.run.tradable is not None and record.horizon < record.until]

    def take(record: _Record, step: Advance | Failed) -> None:
        if isinstance(step, Failed):
            failed[id(record)] = step.reason
        else:
            found[id(record)] = step

    for (days, until), together in _grouped([each for each in due if not isinstance(each.run.tradable, Book)]):
        market = fenced(_market, common, together, until - days * _DAY, until)
        for record in together:
            own = market
            if isinstance(own, Failed):  # one of them cannot be read: the others can
                own = fenced(_market, common, [record], until - days * _DAY, until)
            take(record, own if isinstance(own, Failed) else fenced(_advanced, record, own, common))
    books = [record for record in due if isinstance(record.run.tradable, Book)]
    for record, step in _of_books(books, common, as_of):
        take(record, step)
    return [
        (record.run, found_of(record.run, found[id(record)], record.before, common, as_of, failed.get(id(record), "")))
        for record in records
    ]


def _records(runs: Sequence[TrackedRun], common: Common, as_of: datetime) -> list[_Record]:
    """Return the runs of which something is stored, with it."""
    if not runs:
        return []
    starts = sorted({run.period.start for run in runs})
    rows = common.store.read(query("forward/last_hours"), {"starts": starts, "as_of": as_of}).iter_rows()
    last = {row[:4]: row[4:] for row in rows}
    configured = (pl.col("kind") == Kind.BOOK) | pl.col("symbol").is_in(list(common.symbols))
    opened = common.store.read(_OPEN, [starts, as_of]).filter(configured)
    parts = opened.partition_by(*IDENTITY, as_dict=True, include_key=False)
    records = []
    for run in runs:
        key = (run.kind, run.name, run.version, run.period.start)
        if key in last:
            horizon, equity, entries, trades = last[key]
            mine = parts.get(key, opened.clear().drop(IDENTITY))
            until = min(as_of, run.period.end or as_of)
            records.append(_Record(run, horizon, mine, Before(entries, trades, equity), until))
    return records


def _grouped(records: Sequence[_Record]) -> list[tuple[tuple[int, datetime], list[_Record]]]:
    """Return the records by the days that their replays need, the longest first, and by their end."""
    ordered = sorted(records, key=lambda record: (-record.days, record.until))
    return [(key, list(group)) for key, group in groupby(ordered, lambda record: (record.days, record.until))]


def _market(common: Common, records: Sequence[_Record], start: datetime, until: datetime) -> Market:
    """Read the market of some strategies, once."""
    names: dict[Timeframe, set[str]] = {}
    lookback = 0
    for record in records:
        strategy: Any = record.run.tradable
        for timeframe in strategy.timeframes:
            names.setdefault(timeframe, set()).update(strategy.features(timeframe))
        lookback = max(lookback, int(getattr(strategy, "lookback", DEFAULT_LOOKBACK)))
    manager = FeatureManager(common.source, until, common.known)
    source = common.source
    return read_market(manager, common.symbols, start, until, features=names, lookback=lookback, source=source)


def _advanced(record: _Record, market: Market, common: Common) -> Advance:
    """Return what a strategy adds since its last hour."""
    run, start = record.run, record.run.period.start
    strategy: StrategyLike = run.tradable  # type: ignore[assignment]
    resumed = resume(
        strategy, market, record.horizon, record.held,
        largest=common.largest(run.kind, run.name, run.version, start), rules=common.rules(start),
    )  # fmt: skip
    replay = replay_of(resumed.trades, resumed.pooled, common.over(start, record.until))
    lanes = resumed.pooled.lanes + _ended(record, market, common)
    share = pl.col("net_return") * (resumed.pooled.lanes / lanes)
    return _added(record, Replay(replay.entries, replay.trades, replay.returns.with_columns(share)))


def _ended(record: _Record, market: Market, common: Common) -> int:
    """Return how many lanes had their last bar after activation and before the market: they are idle, and count."""
    timeframes = record.run.tradable.timeframes  # type: ignore[union-attr]
    idle = 0
    for timeframe in timeframes:
        for symbol in common.symbols:
            if (symbol, timeframe) not in market.bars:
                last = common.last_bar(symbol, timeframe, market.start)
                idle += last is not None and last >= record.run.period.start
    return idle


def _added(record: _Record, replay: Replay) -> Advance:
    """Return the rows of a replay that are new."""
    entries, trades, _ = record.rows
    return _uncompared(advance(Ledger(entries, trades, record.horizon), replay, record.until))


def _uncompared(step: Advance) -> Advance:
    return replace(step, differences=pl.DataFrame(schema=DIFFERENCE_SCHEMA), compared=0)


def _of_books(
    records: Sequence[_Record], common: Common, as_of: datetime
) -> Iterator[tuple[_Record, Advance | Failed]]:
    """Yield what each book adds; those of a timeframe share a market from the first activation on."""
    for timeframe in sorted({record.book.timeframe for record in records}):
        together = [record for record in records if record.book.timeframe == timeframe]
        market = cache(partial(_shared, common, tuple(together), as_of))
        for record in together:
            yield record, fenced(_advanced_book, record, market, common)


def _shared(common: Common, records: Sequence[_Record], as_of: datetime) -> DeepMarket:
    first = min(record.run.period.start for record in records)
    return shared_market(common.store, [record.book for record in records], first, as_of)


def _advanced_book(record: _Record, market: Callable[[], DeepMarket], common: Common) -> Advance:
    window, none = (record.run.period.start, record.until), nothing_new()
    step, reason = advanced_book(common.store, record.book, market, window, record.rows, none)
    if reason:
        raise ValueError(reason)
    return _uncompared(step)
