"""Move market data from a source into the warehouse: plan, fetch, compare and store, one interval at a time.

Belongs here: the order of fetching and storing, coverage of each day, the stored ledger of gaps. Does not belong here:
what to fetch (`fetching`), what a gap is (`gaps`), any one source, when it is due.

Each interval is one commit of rows and their coverage, so an interruption or a failing symbol costs at most one
interval. Coverage never shrinks: a run with an earlier as-of leaves later data in place.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Final, NamedTuple

import polars as pl

from blofin_resources.errors import MarketError, WarehouseError
from blofin_resources.market import fetching
from blofin_resources.market import source as base
from blofin_resources.market.bases import by_base, changed_bases, shorter_than, stored_by_base
from blofin_resources.market.gaps import GAP_SCHEMA, RETRIED, find_gaps, update_ledger
from blofin_resources.market.steps import LOOKED_BACK
from blofin_resources.warehouse import Transaction, Warehouse
from features.bars import (
    CANDLE_SCHEMA,
    DEFAULT_TIMEFRAMES,
    FUNDING_SCHEMA,
    MARK_SCHEMA,
    POSITIONING_SCHEMA,
    TIMEFRAMES,
    TS,
    Timeframe,
    bar_length,
    floor_time,
)
from features.steps import STEP_SCHEMA, find_steps

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

LONGER: Final = tuple(f"candles_{timeframe}" for timeframe in TIMEFRAMES[1:])
"""The bars that are made of 1-minute bars."""

WARMED: Final = tuple(f"features_{timeframe}" for timeframe in DEFAULT_TIMEFRAMES)
"""What depends on bars of earlier days, too."""

DERIVED: Final = ("gaps", *LONGER, *WARMED)
"""What is made of 1-minute bars."""

WARM_DAYS: Final = 14
"""For how many days after a bar features may depend on it: more than 200 bars of 60 minutes."""

_DAY: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_COVERAGE: Final = pl.DataFrame(
    schema={"dataset": pl.String(), "symbol": pl.String(), "day": pl.Date(), "through": TS, "rows": pl.Int32()}
)


class Ingested(NamedTuple):
    """What came of one ingestion.

    Attributes
    ----------
    rows
        Number of rows fetched.
    revised
        Number of stored values that changed.
    snapshot
        The last snapshot; None if nothing was due.
    passed_over
        A line for each symbol that was not asked for, with the reason.
    """

    rows: int
    revised: int
    snapshot: int | None
    passed_over: tuple[str, ...] = ()


class GapLedger(NamedTuple):
    """The open gaps of an interval, with `gaps.GAP_SCHEMA`, and the snapshot that holds them."""

    open: pl.DataFrame
    snapshot: int | None


@dataclass(frozen=True)
class _Dataset:
    """What differs between candles, funding, mark prices and positioning data."""

    name: str
    schema: pl.Schema
    fetch: Callable[[base.MarketSource, Sequence[str], datetime, datetime], base.Fetched]
    revised: Mapping[str, str]
    """Columns whose late changes are logged, and under which names."""
    reach: timedelta
    """How far beyond its end a piece's rows go: funding paid at the very end counts as known."""
    bars: Timeframe | None = None
    """Length of the bars, of candles: the base of their symbols."""

    @property
    def table(self) -> str:
        return f"market.{self.name}"


@cache
def _candles(timeframe: Timeframe) -> _Dataset:
    def fetch(source: base.MarketSource, symbols: Sequence[str], start: datetime, end: datetime) -> base.Fetched:
        return fetching.fetch_candles(source, symbols, timeframe, start, end)

    name = f"candles_{timeframe}"
    return _Dataset(name, CANDLE_SCHEMA, fetch, fetching.REVISED_CANDLES, timedelta(), timeframe)


def _fetch_funding(source: base.MarketSource, symbols: Sequence[str], start: datetime, end: datetime) -> base.Fetched:
    return _stamped(fetching.fetch_funding(source, symbols, start, end), source)


def _fetch_marks(source: base.MarketSource, symbols: Sequence[str], start: datetime, end: datetime) -> base.Fetched:
    return _stamped(fetching.fetch_marks(source, symbols, start, end), source)


def _fetch_positioning(
    source: base.MarketSource, symbols: Sequence[str], start: datetime, end: datetime
) -> base.Fetched:
    return _stamped(fetching.fetch_positioning(source, symbols, start, end), source)


def _stamped(fetched: base.Fetched, source: base.MarketSource) -> base.Fetched:
    return fetched._replace(frame=fetched.frame.with_columns(origin=pl.lit(source.name)))


_FUNDING: Final = _Dataset(
    "funding_rates",
    pl.Schema({**FUNDING_SCHEMA, "origin": pl.String()}),
    _fetch_funding,
    fetching.REVISED_FUNDING,
    _INSTANT,
)
_MARKS: Final = _Dataset(
    "mark_candles_1m",
    pl.Schema({**MARK_SCHEMA, "origin": pl.String()}),
    _fetch_marks,
    fetching.REVISED_MARKS,
    timedelta(),
)
_POSITIONING: Final = _Dataset(
    "positioning",
    pl.Schema({**POSITIONING_SCHEMA, "origin": pl.String()}),
    _fetch_positioning,
    fetching.REVISED_POSITIONING,
    _INSTANT,
)


def store_candles(
    store: Warehouse,
    source: base.MarketSource,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    as_of: datetime,
    run_id: str,
    force: bool = False,
) -> Ingested:
    """Fetch and store the bars of [`start`, `end`), each symbol's shortest (`bases`), and retry recent gaps.

    Parameters
    ----------
    store : Warehouse
        Where bars are stored.
    source : MarketSource
        Where bars come from.
    symbols : sequence of str
        Symbols to store. Delisted ones are not requested over the network; their missing bars go to the gap ledger.
    start, end : datetime
        Midnight of the first day, and the end of a day or the as-of (UTC).
    as_of : datetime
        When the source is asked; not before `end`.
    run_id : str
        Run that writes.
    force : bool, optional
        Fetch everything again, including what is stored.

    Returns
    -------
    Ingested
        Counts of rows and revisions, and the last snapshot.

    Raises
    ------
    MarketError
        After storing the other symbols, if some failed (the text names each); or if the source is unavailable.
    """
    other = changed_bases(store, source, symbols)
    ingestions = []
    for timeframe, group in by_base(source, [symbol for symbol in symbols if symbol not in other]).items():
        again = [] if force else _gaps_to_retry(store, group, start, end, as_of)
        ingestions.append(
            _Ingestion(_candles(timeframe), store, source, as_of, run_id, group, start, end, force, tuple(again))
        )
    return _ingest(ingestions, end, other)


def store_funding(
    store: Warehouse,
    source: base.MarketSource,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    as_of: datetime,
    run_id: str,
    force: bool = False,
) -> Ingested:
    """Fetch and store the funding paid in [`start`, `end`].

    Parameters
    ----------
    store, source, symbols, start, end, as_of, run_id, force
        As in `store_candles`.

    Returns
    -------
    Ingested
        Counts of payments and revisions, and the last snapshot.

    Raises
    ------
    MarketError
        As `store_candles`.
    """
    return _ingest([_Ingestion(_FUNDING, store, source, as_of, run_id, symbols, start, end, force)], end)


def store_mark_prices(
    store: Warehouse,
    source: base.MarketSource,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    as_of: datetime,
    run_id: str,
    force: bool = False,
) -> Ingested:
    """Fetch and store the 1-minute bars of the mark price in [`start`, `end`).

    Nothing else waits for mark prices, so a day on which they failed is never due again by itself. Unless `force` is
    set, days of the last `MARKS_BACK` that have candles and no mark prices are therefore fetched too.

    Parameters
    ----------
    store, source, symbols, start, end, as_of, run_id, force
        As in `store_candles`.

    Returns
    -------
    Ingested
        Counts of bars and revisions, and the last snapshot.

    Raises
    ------
    MarketError
        As `store_candles`.
    """
    since = start if force else min(start, _first_day(store, symbols, end - MARKS_BACK, start))
    return _ingest([_Ingestion(_MARKS, store, source, as_of, run_id, symbols, since, end, force)], end)


def store_positioning(
    store: Warehouse,
    source: base.MarketSource,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    as_of: datetime,
    run_id: str,
    force: bool = False,
) -> Ingested:
    """Fetch and store the positioning data known in [`start`, `end`], of the symbols that have some.

    A file may come later than its candles, or end before them and go on later. Unless `force` is set, all days that
    have candles and no positioning data are therefore fetched too, and what is known ends where the data end.

    Parameters
    ----------
    store, source, symbols, start, end, as_of, run_id, force
        As in `store_candles`.

    Returns
    -------
    Ingested
        Counts of rows and revisions, and the last snapshot; nothing where the source has no positioning data.

    Raises
    ------
    MarketError
        As `store_candles`.
    """
    through = source.positioned() if isinstance(source, base.HasPositioning) else {}
    groups: dict[datetime, list[str]] = {}
    for symbol in symbols:
        if symbol in through:
            groups.setdefault(min(end, through[symbol] or end), []).append(symbol)
    ingestions = []
    for last, wanted in sorted(groups.items()):
        since = start if force else min(start, _first_day(store, wanted, _BEGINNING, start))
        if since < last:
            ingestions.append(_Ingestion(_POSITIONING, store, source, as_of, run_id, wanted, since, last, force))
    return _ingest(ingestions, end)


def update_gap_ledger(
    store: Warehouse,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    *,
    as_of: datetime,
    run_id: str,
    source: base.MarketSource | None = None,
) -> GapLedger:
    """Update `market.gaps` from the bars stored since `start`, and return the open gaps.

    Price steps of these days (`market.steps`) are updated as well; a meaning already given to a step is kept.

    Parameters
    ----------
    store : Warehouse
        Where bars and gaps are stored.
    symbols : sequence of str
        Symbols whose bars are expected.
    start, end : datetime
        Midnight of the first day, and the end of a day or the as-of (UTC). Bars stored beyond `end` are examined too.
    as_of : datetime
        When the source was asked.
    run_id : str
        Run that writes.
    source : MarketSource, optional
        Says how long the bars of a symbol are of which none is stored yet; minutes where omitted.

    Returns
    -------
    GapLedger
        Open gaps of the interval, and the snapshot that holds them.

    Raises
    ------
    WarehouseError
        If candles of a day were never fetched: what is missing there is not a gap.
    """
    last = (end - _INSTANT).date()
    lacking = store.missing_days(["candles_1m"], symbols, start.date(), last + _DAY, end)["candles_1m"]
    if lacking:
        msg = f"candles_1m is not stored for {lacking[0]}, so its gaps are not known; materialise candles_1m first"
        raise WarehouseError(msg)
    covered = store.covered("candles_1m", symbols, start.date(), last + _DAY)
    reached = covered.filter(pl.col("day") == last)["through"].min()
    until = max(end, reached) if isinstance(reached, datetime) else end
    began, over = trading_periods(store, symbols, as_of)
    parts, gaps = [], []
    for timeframe, group in stored_by_base(store, symbols, source).items():
        parts.append(_read(store, _candles(timeframe), group, start, until))
        gaps.append(
            find_gaps(parts[-1], group, start, until, found_at=as_of, timeframe=timeframe, listed=began, delisted=over)
        )
    candles, found = pl.concat(parts), pl.concat(gaps).sort("symbol", "from_ts")
    ledger = update_ledger(_ledger(store, symbols, start, until), found, symbols, start, until, as_of)
    counted = ledger.group_by("symbol", day=pl.col("from_ts").dt.date()).agg(rows=pl.len())
    with store.transaction(run_id) as tx:
        tx.replace("market.gaps", ledger, start, until, time_column="from_ts", symbol=list(symbols))
        tx.replace("market.steps", _steps(store, candles, start, as_of), start, until, symbol=list(symbols))
        record_coverage(tx, store, "gaps", symbols, start, until, counted)
    return GapLedger(ledger.filter(pl.col("closed_at").is_null()), tx.snapshot)


def _steps(store: Warehouse, candles: pl.DataFrame, start: datetime, as_of: datetime) -> pl.DataFrame:
    """Find price steps in 1-minute bars from `start` on, starting from the last bar before them."""
    names = candles["symbol"].unique(maintain_order=True).to_list()
    before = [
        store.read(
            f"SELECT symbol, max(ts) AS ts, arg_max(close, ts) AS close FROM market.candles_{timeframe} "  # noqa: S608
            "WHERE ts < ? AND ts >= ? AND symbol IN (SELECT unnest(?)) GROUP BY symbol",
            [start, start - LOOKED_BACK, group],
        ).select("symbol", pl.col("ts").cast(TS), pl.col("close").alias("open"), "close")
        for timeframe, group in stored_by_base(store, names).items()
    ]
    bars = pl.concat([*before, candles.select("symbol", "ts", "open", "close")]).sort("symbol", "ts")
    known = store.read("SELECT symbol, ts, meaning, found_at AS since FROM market.steps").cast({"ts": TS, "since": TS})
    found = find_steps(bars).join(known, on=["symbol", "ts"], how="left")
    return found.select(*STEP_SCHEMA, "meaning", found_at=pl.coalesce("since", pl.lit(as_of, TS)))


def retry_days(store: Warehouse, symbols: Sequence[str], as_of: datetime) -> list[date]:
    """Return the recent days to ingest again because of open gaps.

    Days after the first such gap are included: filling it changes their features.

    Parameters
    ----------
    store : Warehouse
        Where the gap ledger is.
    symbols : sequence of str
        Symbols whose gaps count.
    as_of : datetime
        Gaps already retried as of this time are skipped.

    Returns
    -------
    list of date
        UTC days in order, from the first gap of the last `RETRY_FOR` through the as-of; empty if there is none.
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


def trading_periods(
    store: Warehouse, symbols: Sequence[str], as_of: datetime
) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """Return when trading in each symbol began and ended.

    Parameters
    ----------
    store : Warehouse
        Where instruments and candles are stored.
    symbols : sequence of str
        Symbols to look up.
    as_of : datetime
        Delistings noticed later are ignored.

    Returns
    -------
    tuple of dict
        Listing time by symbol, and close of the last bar by delisted symbol; symbols without that fact are absent.
    """
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


def delisted_at(store: Warehouse, symbols: Sequence[str], as_of: datetime) -> dict[str, datetime]:
    """Return the close of the last bar of each symbol that was delisted by `as_of`.

    No look-ahead: the delisting may have been noticed after `as_of`, but no decision depends on when it was noticed,
    and the absence of later bars is a fact of the data.

    Parameters
    ----------
    store : Warehouse
        Where instruments and candles are stored.
    symbols : sequence of str
        Symbols to look up.
    as_of : datetime
        Later delistings are left out.

    Returns
    -------
    dict of str to datetime
        Close of the last bar (UTC) by symbol.
    """
    _, last = trading_periods(store, symbols, datetime.max.replace(tzinfo=UTC))
    return {symbol: moment for symbol, moment in last.items() if moment <= as_of}


def invalidate_after_relisting(
    store: Warehouse, replace: Callable[..., None], described: pl.DataFrame, as_of: datetime
) -> None:
    """Invalidate all data after the presumed end of symbols that turn out to be trading.

    Parameters
    ----------
    store : Warehouse
        Where they were recorded as delisted.
    replace : callable
        The `replace` of a transaction; it removes the coverage.
    described : DataFrame
        `INSTRUMENT_SCHEMA`: the current instruments.
    as_of : datetime
        Time of `described`.
    """
    traded = described.filter(pl.col("state") != base.DELISTED)["symbol"].to_list()
    for symbol, moment in trading_periods(store, traded, as_of)[1].items():
        after = store.read(
            "SELECT DISTINCT dataset, day FROM market.coverage WHERE symbol = ? AND day >= ?", [symbol, moment.date()]
        )
        if after.height:
            datasets, days = after["dataset"].unique().to_list(), after["day"].unique().to_list()
            replace("market.coverage", _NO_COVERAGE, dataset=datasets, symbol=symbol, day=days)


def describe_instruments(
    store: Warehouse, source: base.MarketSource, symbols: Sequence[str], as_of: datetime
) -> pl.DataFrame:
    """Return the instruments as of `as_of`; one that vanished from an exchange is marked as delisted.

    A vanished instrument keeps its last known terms, so that the other symbols can go on.

    Parameters
    ----------
    store : Warehouse
        Where earlier descriptions are stored.
    source : MarketSource
        The source to ask.
    symbols : sequence of str
        Symbols to describe.
    as_of : datetime
        Time of the description.

    Returns
    -------
    DataFrame
        `INSTRUMENT_SCHEMA`, one row per symbol, sorted by symbol.

    Raises
    ------
    MarketError
        For a symbol that the source never had, or whose file is gone from an archive.
    """
    columns = ", ".join(base.INSTRUMENT_SCHEMA)
    known = store.read(
        f"SELECT {columns} FROM market.instruments WHERE as_of <= ? "  # noqa: S608 - constant columns
        "QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY as_of DESC) = 1",
        [as_of],
    ).cast(base.INSTRUMENT_SCHEMA)
    gone = set(known["symbol"]).intersection(symbols) if fetching.over_network(source) else set()
    gone -= set(source.symbols()) if gone else set()
    there = [symbol for symbol in symbols if symbol not in gone]
    now = source.instruments(there, as_of) if there else base.INSTRUMENT_SCHEMA.to_frame()
    vanished = known.filter(pl.col("symbol").is_in(gone)).with_columns(
        as_of=pl.lit(as_of, TS), state=pl.lit(base.DELISTED)
    )
    return pl.concat([now, vanished]).sort("symbol")


def coverage_rows(
    store: Warehouse, dataset: str, symbols: Sequence[str], start: datetime, end: datetime, counted: pl.DataFrame
) -> pl.DataFrame:
    """Compute the rows of `market.coverage` after storing [`start`, `end`); no day's coverage shrinks.

    Parameters
    ----------
    store : Warehouse
        Previous coverage.
    dataset : str
        Table name without its schema.
    symbols : sequence of str
        Symbols that were stored.
    start, end : datetime
        Interval that was stored. If it does not join the day's existing coverage, that coverage is not extended.
    counted : DataFrame
        Columns symbol, day, rows: how many rows the dataset now holds per day; a day without a row counts as empty.

    Returns
    -------
    DataFrame
        Columns dataset, symbol, day, through, rows.
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


def record_coverage(
    tx: Transaction,
    store: Warehouse,
    dataset: str,
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    counted: pl.DataFrame,
) -> None:
    """Store in a transaction how far a dataset reaches after [`start`, `end`) was stored.

    The previous coverage is read under the commit lock, because another process may have extended it meanwhile.

    Parameters
    ----------
    tx : Transaction
        The transaction that stores the rows.
    store, dataset, symbols, start, end, counted
        As in `coverage_rows`.
    """
    tx.late(lambda: replace_coverage(tx.replace, coverage_rows(store, dataset, symbols, start, end, counted)))


def replace_coverage(replace: Callable[..., None], coverage: pl.DataFrame) -> None:
    """Store rows made by `coverage_rows` through the `replace` of a transaction."""
    for (dataset,), rows in coverage.group_by("dataset"):
        days = rows["day"].unique().to_list()
        replace("market.coverage", rows, dataset=dataset, symbol=rows["symbol"].unique().to_list(), day=days)


def _first_day(store: Warehouse, symbols: Sequence[str], since: datetime, before: datetime) -> datetime:
    """Return midnight of the first day after `since` that has stored candles, or `before` if there is none."""
    days = store.covered("candles_1m", symbols, since.date() + _DAY, before.date())["day"]
    first = days.min()
    return datetime.combine(first, time(), UTC) if isinstance(first, date) else before


def _last_close(store: Warehouse, symbol: str, before: datetime) -> datetime:
    [timeframe] = stored_by_base(store, [symbol])
    query = f"SELECT max(ts) AS ts FROM market.candles_{timeframe} WHERE symbol = ? AND ts < ?"  # noqa: S608 - a timeframe
    found = store.read(query, [symbol, before])["ts"].item()
    return found + bar_length(timeframe) if isinstance(found, datetime) else before


@dataclass(frozen=True)
class _Ingestion:
    """What one ingestion of one dataset needs throughout, and what it is to bring."""

    dataset: _Dataset
    store: Warehouse
    source: base.MarketSource
    as_of: datetime
    run_id: str
    symbols: Sequence[str]
    start: datetime
    end: datetime
    force: bool
    again: tuple[fetching.Interval, ...] = ()
    """Stored intervals to fetch again."""


def invalidate_derived(
    store: Warehouse,
    replace: Callable[..., None],
    rows: pl.DataFrame,
    held: pl.DataFrame,
    timeframe: Timeframe = "1m",
) -> None:
    """Invalidate derived data whose bars were changed or added after their day had been stored.

    Parameters
    ----------
    store : Warehouse
        Previous coverage.
    replace : callable
        The `replace` of a transaction; it removes the coverage of derived datasets.
    rows, held : DataFrame
        `CANDLE_SCHEMA`: the bars to be stored, and those stored so far.
    timeframe : Timeframe, optional
        Length of these bars, the base of their symbols.
    """
    fresh = rows.join(held, on=rows.columns, how="anti", nulls_equal=True)
    if fresh.is_empty():
        return
    days = fresh["ts"].dt.date()
    names = fresh["symbol"].unique().to_list()
    _due_after(store, replace, fresh)
    fetched = {f"candles_{each}" for each in (*shorter_than(timeframe), timeframe)}
    derived = [name for name in DERIVED if name not in fetched]
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
        replace("market.coverage", _NO_COVERAGE, dataset=derived, symbol=symbol, day=after)


def _due_after(store: Warehouse, replace: Callable[..., None], fresh: pl.DataFrame) -> None:
    """Invalidate features of stored days that follow newly added bars, such as after an earlier start date."""
    newest = fresh.group_by("symbol").agg(last=pl.col("ts").dt.date().max()).sort("symbol")
    for symbol, last in newest.iter_rows():
        later = store.covered("candles_1m", [symbol], last + _DAY, last + (WARM_DAYS + 1) * _DAY)["day"].to_list()
        if later:
            replace("market.coverage", _NO_COVERAGE, dataset=list(WARMED), symbol=symbol, day=later)


def _ingest(
    ingestions: Sequence[_Ingestion], end: datetime, failures: Mapping[str, MarketError] | None = None
) -> Ingested:
    """Fetch and store what is due, one interval at a time; finally raise for the symbols that failed.

    Parameters
    ----------
    ingestions : sequence of _Ingestion
        Of one source, each of other symbols.
    end : datetime
        End of the whole range (UTC): at least one of all symbols has begun by then.
    failures : dict of str to MarketError, optional
        Symbols that failed before.
    """
    failures = dict(failures or {})
    work = [(each, pieces) for each in ingestions if (pieces := _pieces(each))]
    rows = revised = 0
    snapshot = None
    first: dict[str, datetime] = {}
    if work:
        first, unknown = _begun(work[0][0], [symbol for each in ingestions for symbol in each.symbols], end)
        failures |= unknown
    for ingestion, pieces in work:
        for piece in pieces:
            wanted = [symbol for symbol in piece.symbols if symbol not in failures]
            asked = [symbol for symbol in wanted if symbol in first and first[symbol] < piece.end]
            fetched = base.Fetched(ingestion.dataset.schema.to_frame(), {})
            if asked:
                fetched = ingestion.dataset.fetch(ingestion.source, asked, piece.start, piece.end)
            failures |= fetched.failures
            stored = tuple(symbol for symbol in wanted if symbol not in failures)
            if stored:
                changed, snapshot = _store_interval(ingestion, piece._replace(symbols=stored), fetched.frame)
                rows, revised = rows + fetched.frame.height, revised + changed
    base.Fetched(base.no_candles(), failures).require_all()
    return Ingested(rows, revised, snapshot)


def _begun(
    ingestion: _Ingestion, symbols: Sequence[str], end: datetime
) -> tuple[dict[str, datetime], dict[str, MarketError]]:
    """Return each traded symbol's first bar, and the errors of symbols for which the source cannot give it.

    Raises
    ------
    MarketError
        If all of them begin after `end`.
    """
    # An exchange answers no more about what has ended; an archive goes on holding it.
    network = fetching.over_network(ingestion.source)
    over = trading_periods(ingestion.store, symbols, ingestion.as_of)[1] if network else {}
    first, failures = _first_bars(ingestion.source, [symbol for symbol in symbols if symbol not in over])
    if first:
        base.require_begun(first, end, f"{ingestion.source.name} market")
    return first, failures


def _pieces(ingestion: _Ingestion) -> list[fetching.Interval]:
    """Return what is due, on the grid of the bars."""
    dataset, symbols, start, end = ingestion.dataset, ingestion.symbols, ingestion.start, ingestion.end
    covered = ingestion.store.covered(dataset.name, symbols, start.date(), (end - _INSTANT).date() + _DAY)
    known = covered.clear() if ingestion.force else covered
    stretches = fetching.intervals_to_fetch(known, symbols, start, end, OVERLAP)
    per_day = _DAY // bar_length(dataset.bars or "1m")
    days = max(1, BARS_AT_ONCE // (per_day * len(symbols)))
    network = fetching.over_network(ingestion.source)
    pieces = [*fetching.in_chunks(stretches, min(days, NETWORK_DAYS) if network else days), *ingestion.again]
    if dataset.bars is None:
        return pieces
    return [piece._replace(start=floor_time(piece.start, bar_length(dataset.bars))) for piece in pieces]


def _first_bars(
    source: base.MarketSource, symbols: Sequence[str]
) -> tuple[dict[str, datetime], dict[str, MarketError]]:
    """Return each symbol's first bar, and the errors of symbols for which the source cannot give it."""
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


def _store_interval(ingestion: _Ingestion, piece: fetching.Interval, fresh: pl.DataFrame) -> tuple[int, int | None]:
    """Store an interval with its coverage; return the number of revised values and the snapshot."""
    dataset, store = ingestion.dataset, ingestion.store
    symbols, start, end = piece
    until = end + dataset.reach
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    after = (end - _INSTANT).replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
    held = _read(store, dataset, symbols, midnight, max(after, until))
    inside = pl.col("ts").is_between(start, until, closed="left")
    rows = fetching.merged(held.filter(inside), fresh)
    counted = pl.concat([held.filter(~inside), rows]).group_by("symbol", day=pl.col("ts").dt.date()).agg(rows=pl.len())
    changed = _revisions(dataset, held, fresh, ingestion.as_of)
    with store.transaction(ingestion.run_id) as tx:
        tx.replace(dataset.table, rows, start, until, symbol=list(symbols))
        tx.append("market.candle_revisions", changed)
        if dataset.bars is not None:
            invalidate_derived(store, tx.replace, rows, held, dataset.bars)
            for shorter in shorter_than(dataset.bars):  # there are none, and none are due
                record_coverage(tx, store, f"candles_{shorter}", symbols, start, end, counted.clear())
        record_coverage(tx, store, dataset.name, symbols, start, end, counted)
    return changed.height, tx.snapshot


def _revisions(dataset: _Dataset, held: pl.DataFrame, fresh: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Return the values that the same source now reports differently; switching the source is not a revision."""
    same = held.join(fresh.select("symbol", "ts", "origin"), on=["symbol", "ts", "origin"], how="semi")
    return fetching.revisions(same, fresh, as_of, dataset.revised)


def _gaps_to_retry(
    store: Warehouse, symbols: Sequence[str], start: datetime, end: datetime, as_of: datetime
) -> list[fetching.Interval]:
    """Return the intervals that hold recent open gaps not yet retried as of `as_of`, one per day and set of symbols."""
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
    return [fetching.Interval(tuple(names), first, last) for first, last, names in alike.iter_rows()]


def _ledger(store: Warehouse, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    columns = ", ".join(GAP_SCHEMA)
    found = store.read(f"SELECT {columns} FROM market.gaps WHERE from_ts >= ? AND from_ts < ?", [start, end])  # noqa: S608 - constant columns
    return found.cast(GAP_SCHEMA).filter(pl.col("symbol").is_in(list(symbols)))


def _read(store: Warehouse, dataset: _Dataset, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """Return stored rows with `start <= ts < end`, including symbols unknown to the warehouse."""
    columns = ", ".join(dataset.schema)
    marks = ", ".join("?" for _ in symbols)
    found = store.read(
        f"SELECT {columns} FROM {dataset.table} WHERE symbol IN ({marks}) AND ts >= ? AND ts < ? ORDER BY symbol, ts",  # noqa: S608 - constant names
        [*symbols, start, end],
    )
    return found.cast(dataset.schema)
