"""From a source into the warehouse: what is lacking is fetched, compared and stored, piece by piece.

Belongs here: the order of fetching and storing, how far each day is stored, the ledger of gaps as it is kept. Does not
belong here: what to fetch (`ingest`), what a gap is (`gaps`), any one source, when it is due.

Each piece is one commit of rows and their coverage, so an interruption, or a symbol that fails, costs no more than what
had not come in. Coverage never goes back: a run with an earlier as-of leaves what is stored beyond it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

import polars as pl

from blofin_resources.errors import MarketError, WarehouseError
from blofin_resources.market import base, ingest
from blofin_resources.market.gaps import GAP_SCHEMA, RETRIED, find_gaps, update_ledger
from blofin_resources.warehouse import Transaction, Warehouse
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MARK_SCHEMA, TS

OVERLAP: Final = timedelta(hours=1)
"""How much of what is stored is fetched again with what follows it, to notice late revisions."""

RETRY_FOR: Final = timedelta(days=3)
"""For how long after it a gap is looked for again."""

MARKS_BACK: Final = timedelta(days=45)
"""How far back mark prices that did not come with their candles are made up for: what a cycle may look back to."""

BARS_AT_ONCE: Final = 700_000
"""About how many bars are in memory and in one commit."""

NETWORK_DAYS: Final = 7
"""Days of a piece that comes over the network: what an interruption costs."""

DERIVED: Final = (
    "gaps", "candles_5m", "candles_60m", "candles_1d", "features_1m", "features_5m", "features_60m",
)  # fmt: skip
"""What is made of 1-minute bars."""

WARMED: Final = ("features_1m", "features_5m", "features_60m")
"""What depends on bars of earlier days, too."""

WARM_DAYS: Final = 14
"""For how many days after a bar features may depend on it: more than 200 bars of 60 minutes."""

_DAY: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)
_NO_COVERAGE: Final = pl.DataFrame(
    schema={"dataset": pl.String(), "symbol": pl.String(), "day": pl.Date(), "through": TS, "rows": pl.Int32()}
)


class Taken(NamedTuple):
    """What a source gave: rows, bars that it had changed since, and the last snapshot (None where nothing was due)."""

    rows: int
    revised: int
    snapshot: int | None


class Ledger(NamedTuple):
    """The open gaps of a stretch, with `gaps.GAP_SCHEMA`, and the snapshot that holds them."""

    open: pl.DataFrame
    snapshot: int | None


@dataclass(frozen=True)
class _Dataset:
    """What differs between candles, funding and mark prices."""

    name: str
    schema: pl.Schema
    fetch: Callable[[base.MarketSource, Sequence[str], datetime, datetime], base.Fetched]
    revised: Mapping[str, str]
    """Columns whose late changes are logged, and under which names."""
    reach: timedelta
    """How far beyond its end a piece's rows go: funding paid at the very end counts as known."""

    @property
    def table(self) -> str:
        return f"market.{self.name}"


def _fetch_funding(source: base.MarketSource, symbols: Sequence[str], start: datetime, end: datetime) -> base.Fetched:
    return _stamped(ingest.fetch_funding(source, symbols, start, end), source)


def _fetch_marks(source: base.MarketSource, symbols: Sequence[str], start: datetime, end: datetime) -> base.Fetched:
    return _stamped(ingest.fetch_marks(source, symbols, start, end), source)


def _stamped(came: base.Fetched, source: base.MarketSource) -> base.Fetched:
    return came._replace(frame=came.frame.with_columns(origin=pl.lit(source.name)))


_CANDLES: Final = _Dataset("candles_1m", CANDLE_SCHEMA, ingest.fetch_candles, ingest.REVISED_CANDLES, timedelta())
_FUNDING: Final = _Dataset(
    "funding_rates",
    pl.Schema({**FUNDING_SCHEMA, "origin": pl.String()}),
    _fetch_funding,
    ingest.REVISED_FUNDING,
    _INSTANT,
)
_MARKS: Final = _Dataset(
    "mark_candles_1m",
    pl.Schema({**MARK_SCHEMA, "origin": pl.String()}),
    _fetch_marks,
    ingest.REVISED_MARKS,
    timedelta(),
)


def take_candles(
    store: Warehouse,
    source: base.MarketSource,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    as_of: datetime,
    run_id: str,
    afresh: bool = False,
) -> Taken:
    """Bring the 1-minute bars of [`start`, `end`) in, and look again for those of late that were missing.

    Parameters
    ----------
    store, source
        Where to, and where from.
    symbols : sequence of str
        Whose bars. One that has ended (`instruments`) is not asked for: what it lacks is for the ledger.
    start, end : datetime
        The first instant of a day, and the end of a day or the as-of.
    as_of : datetime
        When the source is asked, not before `end`.
    run_id : str
        Run that writes.
    afresh : bool, optional
        Fetch everything, also what is stored.

    Raises
    ------
    MarketError
        Naming each symbol that failed, after everything else is stored; or where nothing can be had at all.
    """
    again = [] if afresh else _gaps_to_retry(store, symbols, start, end, as_of)
    return _take(_Look(_CANDLES, store, source, as_of, run_id), symbols, start, end, afresh=afresh, again=again)


def take_funding(
    store: Warehouse,
    source: base.MarketSource,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    as_of: datetime,
    run_id: str,
    afresh: bool = False,
) -> Taken:
    """Bring the funding paid in [`start`, `end`] in; as `take_candles`."""
    return _take(_Look(_FUNDING, store, source, as_of, run_id), symbols, start, end, afresh=afresh, again=[])


def take_marks(
    store: Warehouse,
    source: base.MarketSource,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    as_of: datetime,
    run_id: str,
    afresh: bool = False,
) -> Taken:
    """Bring the 1-minute bars of the mark price in [`start`, `end`) in; as `take_candles`.

    Unless all is fetched `afresh`, days of the last `MARKS_BACK` that have candles and no mark prices yet are made up
    for: nothing else waits for mark prices, so a day on which they could not be had is not due again by itself.
    """
    since = start if afresh else min(start, _first_day(store, symbols, end - MARKS_BACK, start))
    return _take(_Look(_MARKS, store, source, as_of, run_id), symbols, since, end, afresh=afresh, again=[])


def keep_ledger(
    store: Warehouse, symbols: Sequence[str], start: datetime, end: datetime, *, as_of: datetime, run_id: str
) -> Ledger:
    """Bring `market.gaps` up to what is stored of the days from `start` on, and return what is open there.

    Parameters
    ----------
    store : Warehouse
    symbols : sequence of str
        Whose bars are expected.
    start, end : datetime
        The first instant of a day, and the end of a day or the as-of. Bars stored beyond that are looked at too.
    as_of : datetime
        When the source was asked.
    run_id : str
        Run that writes.

    Raises
    ------
    WarehouseError
        Where the source was not asked for a day yet: what is not stored is no gap then.
    """
    last = (end - _INSTANT).date()
    lacking = store.missing_days(["candles_1m"], symbols, start.date(), last + _DAY, end)["candles_1m"]
    if lacking:
        msg = f"candles_1m is not stored for {lacking[0]}, so its gaps are not known; materialise candles_1m first"
        raise WarehouseError(msg)
    covered = store.covered("candles_1m", symbols, start.date(), last + _DAY)
    reached = covered.filter(pl.col("day") == last)["through"].min()
    until = max(end, reached) if isinstance(reached, datetime) else end
    listed, ended = listing(store, symbols, as_of)
    candles = _read(store, _CANDLES, symbols, start, until)
    found = find_gaps(candles, symbols, start, until, found_at=as_of, listed=listed, delisted=ended)
    ledger = update_ledger(_ledger(store, symbols, start, until), found, symbols, start, until, as_of)
    counted = ledger.group_by("symbol", day=pl.col("from_ts").dt.date()).agg(rows=pl.len())
    with store.transaction(run_id) as tx:
        tx.replace("market.gaps", ledger, start, until, time_column="from_ts", symbol=list(symbols))
        cover(tx, store, "gaps", symbols, start, until, counted)
    return Ledger(ledger.filter(pl.col("closed_at").is_null()), tx.snapshot)


def retry_days(store: Warehouse, symbols: Sequence[str], as_of: datetime) -> list[date]:
    """Return the days of late from the first with an open gap for which the source was not asked as of `as_of`.

    The days after it are among them: their features change where the gap is filled.
    """
    found = store.read(
        "SELECT DISTINCT symbol, from_ts::DATE AS day, kind FROM market.gaps "
        "WHERE closed_at IS NULL AND from_ts >= ? AND to_ts <= ? AND looked_at < ?",
        [as_of - RETRY_FOR, as_of, as_of],
    )
    wanted = pl.col("symbol").is_in(list(symbols)) & pl.col("kind").is_in(RETRIED)
    first = found.filter(wanted)["day"].min()
    last = (as_of - _INSTANT).date()
    return [] if not isinstance(first, date) else [first + n * _DAY for n in range((last - first).days + 1)]


def listing(
    store: Warehouse, symbols: Sequence[str], as_of: datetime
) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """Return when trading in each symbol began, and with which bar it ended where it had by `as_of`, where known."""
    known = store.read("SELECT symbol, as_of, list_time, state FROM market.instruments ORDER BY symbol, as_of").filter(
        pl.col("symbol").is_in(list(symbols))
    )
    began = dict(known.drop_nulls("list_time").select("symbol", "list_time").iter_rows())
    states = known.filter(pl.col("as_of") <= as_of)
    noticed: dict[str, datetime] = {}
    for symbol, moment, state in states.select("symbol", "as_of", "state").iter_rows():
        if state == base.DELISTED:
            noticed.setdefault(symbol, moment)
        else:
            noticed.pop(symbol, None)
    return began, {symbol: _last_close(store, symbol, moment) for symbol, moment in noticed.items()}


def describe(store: Warehouse, source: base.MarketSource, symbols: Sequence[str], as_of: datetime) -> pl.DataFrame:
    """Return the instruments as they stand at `as_of`, with `INSTRUMENT_SCHEMA`; a vanished one as delisted.

    An instrument that an exchange had, and has no more, keeps its terms and gets the state `delisted`, so that the
    others go on; one that it never had is refused, as is one whose file is gone from an archive.
    """
    columns = ", ".join(base.INSTRUMENT_SCHEMA)
    known = store.read(
        f"SELECT {columns} FROM market.instruments WHERE as_of <= ? "  # noqa: S608 - constant columns
        "QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY as_of DESC) = 1",
        [as_of],
    ).cast(base.INSTRUMENT_SCHEMA)
    gone = set(known["symbol"]).intersection(symbols) if ingest.over_network(source) else set()
    gone -= set(source.symbols()) if gone else set()
    there = [symbol for symbol in symbols if symbol not in gone]
    now = source.instruments(there, as_of) if there else base.INSTRUMENT_SCHEMA.to_frame()
    ended = known.filter(pl.col("symbol").is_in(gone)).with_columns(
        as_of=pl.lit(as_of, TS), state=pl.lit(base.DELISTED)
    )
    return pl.concat([now, ended]).sort("symbol")


def covered_rows(
    store: Warehouse, dataset: str, symbols: Sequence[str], start: datetime, end: datetime, counted: pl.DataFrame
) -> pl.DataFrame:
    """Return the rows of `market.coverage` after [`start`, `end`) was stored; no day reaches less far than before.

    Parameters
    ----------
    store : Warehouse
        What was covered before.
    dataset : str
        Table without its schema.
    symbols : sequence of str
        Whose data was stored.
    start, end : datetime
        What was stored. A stretch that does not follow on what is stored of its day does not lengthen it.
    counted : DataFrame
        symbol, day and rows: what the dataset now holds of each day; a day without a row counts as empty.
    """
    first, last = start.date(), (end - _INSTANT).date()
    days = pl.DataFrame({"day": pl.date_range(first, last, eager=True)})
    grid = pl.DataFrame({"symbol": sorted(set(symbols))}).join(days, how="cross")
    before = store.covered(dataset, symbols, first, last + _DAY).select("symbol", "day", before="through")
    midnight = pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    joined = grid.join(before, on=["symbol", "day"], how="left").join(counted, on=["symbol", "day"], how="left")
    reached = pl.coalesce("before", midnight)
    follows = pl.max_horizontal(pl.lit(start, TS), midnight) <= reached
    until = pl.min_horizontal(pl.lit(end, TS), midnight + _DAY)
    return (
        joined.with_columns(through=pl.when(follows).then(pl.max_horizontal(until, reached)).otherwise("before"))
        .drop_nulls("through")
        .select(pl.lit(dataset).alias("dataset"), "symbol", "day", "through", pl.col("rows").fill_null(0))
    )


def cover(
    tx: Transaction,
    store: Warehouse,
    dataset: str,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    counted: pl.DataFrame,
) -> None:
    """Store with a transaction how far a dataset reaches after [`start`, `end`); arguments as of `covered_rows`.

    What was covered before is read under the lock: another process may have gone further meanwhile.
    """
    tx.late(lambda: replace_coverage(tx.replace, covered_rows(store, dataset, symbols, start, end, counted)))


def replace_coverage(replace: Callable[..., None], coverage: pl.DataFrame) -> None:
    """Store rows that `covered_rows` gave, through a transaction's `replace`."""
    for (dataset,), rows in coverage.group_by("dataset"):
        days = rows["day"].unique().to_list()
        replace("market.coverage", rows, dataset=dataset, symbol=rows["symbol"].unique().to_list(), day=days)


def _first_day(store: Warehouse, symbols: Sequence[str], since: datetime, before: datetime) -> datetime:
    """Return the first instant of the first day since a time for which candles are stored; `before` where none is."""
    days = store.covered("candles_1m", symbols, since.date() + _DAY, before.date())["day"]
    first = days.min()
    return datetime.combine(first, time(), UTC) if isinstance(first, date) else before


def _last_close(store: Warehouse, symbol: str, before: datetime) -> datetime:
    last = store.read("SELECT max(ts) AS ts FROM market.candles_1m WHERE symbol = ? AND ts < ?", [symbol, before])["ts"]
    found = last.item()
    return found + timedelta(minutes=1) if isinstance(found, datetime) else before


@dataclass(frozen=True)
class _Look:
    """One run's look at a source for one dataset."""

    dataset: _Dataset
    store: Warehouse
    source: base.MarketSource
    as_of: datetime
    run_id: str


def due_again(store: Warehouse, replace: Callable[..., None], rows: pl.DataFrame, held: pl.DataFrame) -> None:
    """Make due again what is made of bars that changed, or came later, where their day was stored already.

    Parameters
    ----------
    store : Warehouse
    replace : callable
        A transaction's `replace`, which takes the coverage of what is derived away.
    rows, held : DataFrame
        `CANDLE_SCHEMA`: the bars to be stored and those stored so far.
    """
    fresh = rows.join(held, on=rows.columns, how="anti", nulls_equal=True)
    if fresh.is_empty():
        return
    days = fresh["ts"].dt.date()
    names = fresh["symbol"].unique().to_list()
    _due_after(store, replace, fresh)
    covered = store.covered("candles_1m", names, days.min(), days.max() + _DAY)  # type: ignore[arg-type, operator]
    late = (
        fresh.select("symbol", "ts", day=days)
        .join(covered, on=["symbol", "day"])
        .filter(pl.col("ts") < pl.col("through"))
        .group_by("symbol")
        .agg(first=pl.col("day").min(), last=pl.col("day").max())
    )
    for symbol, first, last in late.iter_rows():
        after = [first + n * _DAY for n in range((last - first).days + 1 + WARM_DAYS)]
        replace("market.coverage", _NO_COVERAGE, dataset=list(DERIVED), symbol=symbol, day=after)


def _due_after(store: Warehouse, replace: Callable[..., None], fresh: pl.DataFrame) -> None:
    """Make features due again on stored days that follow bars which have only now come, as with an earlier start."""
    newest = fresh.group_by("symbol").agg(last=pl.col("ts").dt.date().max()).sort("symbol")
    for symbol, last in newest.iter_rows():
        later = store.covered("candles_1m", [symbol], last + _DAY, last + (WARM_DAYS + 1) * _DAY)["day"].to_list()
        if later:
            replace("market.coverage", _NO_COVERAGE, dataset=list(WARMED), symbol=symbol, day=later)


def _take(
    look: _Look, symbols: Sequence[str], start: datetime, end: datetime, *, afresh: bool, again: list[ingest.Stretch]
) -> Taken:
    """Fetch and store what is due, a piece at a time; raise at the end for the symbols that failed."""
    pieces = [*_pieces(look, symbols, start, end, afresh=afresh), *again]
    if not pieces:
        return Taken(0, 0, None)
    _, ended = listing(look.store, symbols, look.as_of)
    first, failures = _first_bars(look.source, [symbol for symbol in symbols if symbol not in ended])
    if first:
        base.require_begun(first, end, f"{look.source.name} market")
    nothing = look.dataset.schema.to_frame()
    rows = revised = 0
    snapshot = None
    for piece in pieces:
        wanted = [symbol for symbol in piece.symbols if symbol not in failures]
        asked = [symbol for symbol in wanted if symbol in first and first[symbol] < piece.end]
        came = base.Fetched(nothing, {})
        if asked:
            came = look.dataset.fetch(look.source, asked, piece.start, piece.end)
        failures |= came.failures
        stored = tuple(symbol for symbol in wanted if symbol not in failures)
        if stored:
            changed, snapshot = _put(look, piece._replace(symbols=stored), came.frame)
            rows, revised = rows + came.frame.height, revised + changed
    base.Fetched(nothing, failures).require_all()
    return Taken(rows, revised, snapshot)


def _pieces(
    look: _Look, symbols: Sequence[str], start: datetime, end: datetime, *, afresh: bool
) -> list[ingest.Stretch]:
    covered = look.store.covered(look.dataset.name, symbols, start.date(), (end - _INSTANT).date() + _DAY)
    stretches = ingest.stretches_to_fetch(covered.clear() if afresh else covered, symbols, start, end, OVERLAP)
    days = max(1, BARS_AT_ONCE // (1440 * len(symbols)))
    return ingest.in_chunks(stretches, min(days, NETWORK_DAYS) if ingest.over_network(look.source) else days)


def _first_bars(
    source: base.MarketSource, symbols: Sequence[str]
) -> tuple[dict[str, datetime], dict[str, MarketError]]:
    """Return each symbol's first bar, and the error of those of which it cannot be had."""
    if not symbols:
        return {}, {}
    source.symbols()  # raises at once where nothing can be had, and not for each symbol
    first: dict[str, datetime] = {}
    failures: dict[str, MarketError] = {}
    for symbol in symbols:
        try:
            first[symbol] = source.first_ts(symbol)
        except MarketError as error:
            failures[symbol] = error
    return first, failures


def _put(look: _Look, piece: ingest.Stretch, fresh: pl.DataFrame) -> tuple[int, int | None]:
    """Store a piece with its coverage; return how many values the source had changed since, and the snapshot."""
    dataset, store = look.dataset, look.store
    symbols, start, end = piece
    until = end + dataset.reach
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    after = (end - _INSTANT).replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
    held = _read(store, dataset, symbols, midnight, max(after, until))
    inside = pl.col("ts").is_between(start, until, closed="left")
    rows = ingest.merged(held.filter(inside), fresh)
    counted = pl.concat([held.filter(~inside), rows]).group_by("symbol", day=pl.col("ts").dt.date()).agg(rows=pl.len())
    changed = _revisions(dataset, held, fresh, look.as_of)
    with store.transaction(look.run_id) as tx:
        tx.replace(dataset.table, rows, start, until, symbol=list(symbols))
        tx.append("market.candle_revisions", changed)
        if dataset is _CANDLES:
            due_again(store, tx.replace, rows, held)
        cover(tx, store, dataset.name, symbols, start, end, counted)
    return changed.height, tx.snapshot


def _revisions(dataset: _Dataset, held: pl.DataFrame, fresh: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Return what a source now gives differently from itself; another source's row, once replaced, is no revision."""
    same = held.join(fresh.select("symbol", "ts", "origin"), on=["symbol", "ts", "origin"], how="semi")
    return ingest.revisions(same, fresh, as_of, dataset.revised)


def _gaps_to_retry(
    store: Warehouse, symbols: Sequence[str], start: datetime, end: datetime, as_of: datetime
) -> list[ingest.Stretch]:
    """Return, for each day of late and symbol, the stretch that holds its open gaps not looked for as of `as_of`."""
    ledger = _ledger(store, symbols, max(start, as_of - RETRY_FOR), end)
    due = ledger.filter(
        pl.col("closed_at").is_null(),
        pl.col("kind").is_in(RETRIED),
        pl.col("to_ts") <= end,
        pl.col("looked_at") < as_of,
    )
    spans = due.group_by("symbol", pl.col("from_ts").dt.date().alias("day")).agg(
        pl.col("from_ts").min(), pl.col("to_ts").max()
    )
    alike = spans.group_by("from_ts", "to_ts").agg(pl.col("symbol").sort()).sort("from_ts", "to_ts")
    return [ingest.Stretch(tuple(names), first, last) for first, last, names in alike.iter_rows()]


def _ledger(store: Warehouse, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    columns = ", ".join(GAP_SCHEMA)
    found = store.read(f"SELECT {columns} FROM market.gaps WHERE from_ts >= ? AND from_ts < ?", [start, end])  # noqa: S608 - constant columns
    return found.cast(GAP_SCHEMA).filter(pl.col("symbol").is_in(list(symbols)))


def _read(store: Warehouse, dataset: _Dataset, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """Return stored rows with `start <= ts < end`, also of symbols that the warehouse does not know yet."""
    columns = ", ".join(dataset.schema)
    marks = ", ".join("?" for _ in symbols)
    found = store.read(
        f"SELECT {columns} FROM {dataset.table} WHERE symbol IN ({marks}) AND ts >= ? AND ts < ? ORDER BY symbol, ts",  # noqa: S608 - constant names
        [*symbols, start, end],
    )
    return found.cast(dataset.schema)
