"""Deep history: years of hours, days and funding, fetched as such and stored by chunks of symbols.

Belongs here: what is lacking of a symbol's history, fetching and storing it, its gaps and revisions. Does not belong
here: minutes (`ingestion`), which symbols make up the universe (`universe`), any one source.

A chunk of symbols is one commit of rows, gaps and coverage, so an interruption costs one chunk, and memory does not
grow with the number of symbols. The next request for a symbol begins `OVERLAP` before its last bar: what a source adds
or revises late is seen, and a symbol that was away is continued where it stopped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import polars as pl

from blofin_resources.errors import MarketError
from blofin_resources.market import checks, fetching
from blofin_resources.market import source as base
from blofin_resources.market.gaps import GAP_SCHEMA, SOURCE_HOLE, flat_stretches, ledger_rows, update_ledger
from blofin_resources.market.ingestion import Ingested
from blofin_resources.warehouse import Warehouse
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MINUTES, TS, Timeframe, bar_length, floor_time

OVERLAP: Final = timedelta(days=3)
"""How much of what is stored is fetched again with what follows it, to notice late bars and revisions."""

ROWS_AT_ONCE: Final = 500_000
NETWORK_ROWS_AT_ONCE: Final = 100_000
"""About how many rows are in memory and in one commit; over the network, an interruption costs that many."""

MINUTES_DIFFER: Final = "minutes_60m_"
"""Before the column, in the log of revisions: an hour that was fetched is not what its minutes make."""

_LISTING_REVISIONS: Final = {"list_time": "listing_list_time", "delist_time": "listing_delist_time"}
"""Times of a listing whose changes are logged, and under which names."""

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Deep:
    """One table of deep history.

    Attributes
    ----------
    name
        Table without its schema.
    timeframe
        Length of its bars; None for funding.
    """

    name: str
    timeframe: Timeframe | None

    @property
    def schema(self) -> pl.Schema:
        """Columns of its rows."""
        return pl.Schema({**FUNDING_SCHEMA, "origin": pl.String()}) if self.timeframe is None else CANDLE_SCHEMA

    @property
    def length(self) -> timedelta:
        """Time from a row's `ts` until it is known."""
        return timedelta() if self.timeframe is None else bar_length(self.timeframe)

    @property
    def revised(self) -> dict[str, str]:
        """Columns whose late changes are logged, and under which names."""
        fields = fetching.REVISED_FUNDING if self.timeframe is None else fetching.REVISED_CANDLES
        return {column: f"{self.name}_{column}" for column in fields}

    def fetch(self, source: base.MarketSource, symbols: Sequence[str], start: datetime, end: datetime) -> base.Fetched:
        """Fetch the rows of some symbols, and collect errors by symbol.

        Parameters
        ----------
        source : MarketSource
            The source to ask.
        symbols : sequence of str
            Symbols to fetch.
        start, end : datetime
            Rows with `start <= ts` that are known by `end` (UTC).

        Returns
        -------
        Fetched
            Rows with `schema`, and the error of each symbol that failed.
        """
        if self.timeframe is not None:
            return fetching.fetch_candles(source, symbols, self.timeframe, start, end)
        paid = fetching.fetch_funding(source, symbols, start, end)
        return paid._replace(frame=paid.frame.with_columns(origin=pl.lit(source.name)))


DEEP_60M: Final = Deep("deep_60m", "60m")
DEEP_1D: Final = Deep("deep_1d", "1d")
DEEP_FUNDING: Final = Deep("deep_funding", None)
DATASETS: Final = (DEEP_1D, DEEP_60M, DEEP_FUNDING)
"""The tables of deep history, in the order in which they are filled."""


class _Range(NamedTuple):
    """What is to be fetched of one symbol, and the begin of its history."""

    symbol: str
    start: datetime
    begin: datetime


class _Known(NamedTuple):
    """What is stored of a symbol's history: the range requested, the close of its last bar, what has been checked."""

    requested_from: datetime
    requested_to: datetime
    through: datetime | None
    sound_to: datetime | None


def current_listings(store: Warehouse, source: base.MarketSource, as_of: datetime) -> pl.DataFrame:
    """Return what is listed at `as_of`, delisted symbols included.

    A symbol that an exchange lists no more keeps its listing time and is delisted.

    Parameters
    ----------
    store : Warehouse
        Where earlier listings are stored.
    source : MarketSource
        The source to ask.
    as_of : datetime
        Time of the description; later delistings are left out.

    Returns
    -------
    DataFrame
        `LISTING_SCHEMA`, `as_of` and `origin`, sorted by symbol.
    """
    now = source.listings()
    ended = (pl.col("delist_time") > as_of).fill_null(value=False)
    now = now.with_columns(
        delist_time=pl.when(~ended).then("delist_time"),
        state=pl.when(ended).then(pl.lit("live")).otherwise("state"),
    )
    gone = stored_listings(store, as_of).join(now, on="symbol", how="anti")
    vanished = gone.with_columns(state=pl.lit(base.DELISTED)).select(base.LISTING_SCHEMA.names())
    found = pl.concat([now.filter(pl.col("list_time").is_null() | (pl.col("list_time") < as_of)), vanished])
    return found.with_columns(as_of=pl.lit(as_of, TS), origin=pl.lit(source.name)).sort("symbol")


def stored_listings(store: Warehouse, as_of: datetime) -> pl.DataFrame:
    """Return the newest stored listing of each symbol at or before `as_of`, with `LISTING_SCHEMA`, sorted."""
    columns = ", ".join(base.LISTING_SCHEMA)
    return store.read(
        f"SELECT {columns} FROM market.listings WHERE as_of <= ? "  # noqa: S608 - constant columns
        "QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY as_of DESC) = 1 ORDER BY symbol",
        [as_of],
    ).cast(base.LISTING_SCHEMA)


def store_listings(
    store: Warehouse, found: pl.DataFrame, as_of: datetime, run_id: str
) -> tuple[pl.DataFrame, int | None]:
    """Store the listings that differ from the last ones, and log the times that changed as revisions.

    Parameters
    ----------
    store : Warehouse
        Where listings are stored.
    found : DataFrame
        Result of `current_listings`.
    as_of : datetime
        Its as-of. What an earlier run stored for the same as-of is replaced.
    run_id : str
        Run that writes.

    Returns
    -------
    tuple of DataFrame and int or None
        The rows stored, and the snapshot.
    """
    before = stored_listings(store, as_of)
    changed = found.join(before, on=list(base.LISTING_SCHEMA), how="anti", nulls_equal=True)
    symbols = changed["symbol"].to_list()
    old, new = (
        frame.select("symbol", *_LISTING_REVISIONS, ts=pl.lit(as_of, TS)).filter(pl.col("symbol").is_in(symbols))
        for frame in (before, changed)
    )
    # a time that becomes known is news, no revision
    revised = fetching.revisions(old, new, as_of, _LISTING_REVISIONS).drop_nulls("old_value")
    with store.transaction(run_id) as tx:
        tx.replace("market.listings", changed, symbol=symbols, as_of=as_of)
        tx.append("market.candle_revisions", revised)
    return changed, tx.snapshot


def store_deep(
    store: Warehouse,
    source: base.MarketSource,
    dataset: Deep,
    listings: pl.DataFrame,
    start: datetime,
    end: datetime,
    *,
    as_of: datetime,
    run_id: str,
    force: bool = False,
) -> Ingested:
    """Fetch and store what is lacking of the history of some symbols.

    Parameters
    ----------
    store : Warehouse
        Where rows are stored.
    source : MarketSource
        Where rows come from.
    dataset : Deep
        Which table.
    listings : DataFrame
        `LISTING_SCHEMA`: the symbols. Delisted ones are not requested over the network.
    start, end : datetime
        Midnight of the first day and after the last day (UTC). A symbol listed later begins there.
    as_of : datetime
        When the source is asked; not before `end`.
    run_id : str
        Run that writes.
    force : bool, optional
        Fetch everything again, including what is stored.

    Returns
    -------
    Ingested
        Counts of rows and revisions, the last snapshot, and what was passed over: a symbol whose shortest bars are
        longer than these, and a delisted one that the source does not have any more. What is stored of it stays.

    Raises
    ------
    MarketError
        After storing the other symbols, if some failed (the text names each); or if the source is unavailable.
    """
    network = fetching.over_network(source)
    wanted, passed_over = _wanted(source, dataset, listings)
    ranges = _ranges(wanted, start, end, {} if force else _coverage(store, dataset))
    failures: dict[str, MarketError] = {}
    rows = revised = 0
    snapshot = None
    for chunk in _chunks(ranges, dataset, end, NETWORK_ROWS_AT_ONCE if network else ROWS_AT_ONCE):
        symbols = sorted({each.symbol for each in chunk})
        begin = min(each.start for each in chunk)
        fetched = dataset.fetch(source, symbols, begin, end)
        failures |= fetched.failures
        kept = [each for each in chunk if each.symbol not in failures]
        if kept:
            mine = listings.filter(pl.col("symbol").is_in([each.symbol for each in kept]))
            changed, snapshot = _store(_Storing(store, dataset, as_of, run_id), kept, mine, (begin, end), fetched.frame)
            rows, revised = rows + fetched.frame.height, revised + changed
    base.Fetched(dataset.schema.to_frame(), failures).require_all()
    return Ingested(rows, revised, snapshot, passed_over)


def lacking_symbols(
    store: Warehouse,
    source: base.MarketSource,
    dataset: Deep,
    listings: pl.DataFrame,
    start: datetime,
    end: datetime,
) -> list[str]:
    """Return the symbols of which something is still to be fetched.

    Parameters
    ----------
    store, source, dataset, listings, start, end
        As in `store_deep`.

    Returns
    -------
    list of str
        Sorted; empty once `store_deep` has succeeded and its bars have passed their check.
    """
    ranges = _ranges(_wanted(source, dataset, listings)[0], start, end, _coverage(store, dataset))
    return sorted({each.symbol for each in ranges})


def unchecked(store: Warehouse, dataset: Deep, symbols: int) -> Iterator[pl.DataFrame]:
    """Yield the bars that have not passed their check since they were stored, by any run.

    Parameters
    ----------
    store : Warehouse
        Where they are stored.
    dataset : Deep
        Which table.
    symbols : int
        How many symbols are read at once.

    Yields
    ------
    DataFrame
        `CANDLE_SCHEMA`, sorted by (symbol, ts).
    """
    table = f"market.{dataset.name}"
    since = (
        f"FROM {table} b LEFT JOIN market.deep_coverage c ON c.symbol = b.symbol AND c.dataset = '{dataset.name}' "
        "WHERE (c.sound_to IS NULL OR b.ts >= c.sound_to)"
    )
    names = store.read(f"SELECT DISTINCT b.symbol {since} ORDER BY 1")["symbol"].to_list()
    columns = ", ".join(f"b.{name}" for name in CANDLE_SCHEMA)
    for at in range(0, len(names), symbols):
        yield store.read(
            f"SELECT {columns} {since} AND b.symbol IN (SELECT unnest(?)) ORDER BY 1, 2",
            [names[at : at + symbols]],
        ).cast(CANDLE_SCHEMA)


def set_checked(store: Warehouse, dataset: Deep, unsound: Sequence[str], run_id: str) -> None:
    """Record that all bars have passed their check but for those of some symbols, which are due again as a whole.

    Parameters
    ----------
    store : Warehouse
        Where coverage is stored.
    dataset : Deep
        Which table.
    unsound : sequence of str
        Symbols whose bars failed: what is known of their coverage is removed.
    run_id : str
        Run that writes.
    """
    known = store.read("SELECT * EXCLUDE (run_id) FROM market.deep_coverage WHERE dataset = ?", [dataset.name])
    sound = known.filter(~pl.col("symbol").is_in(list(unsound))).with_columns(sound_to="requested_to")
    with store.transaction(run_id) as tx:
        tx.replace("market.deep_coverage", sound, dataset=dataset.name)


def log_differences(
    store: Warehouse, symbols: Sequence[str], start: datetime, end: datetime, *, as_of: datetime, run_id: str
) -> pl.DataFrame:
    """Log the fetched hours that differ from what their minutes make, each difference once.

    Parameters
    ----------
    store : Warehouse
        Where both are stored.
    symbols : sequence of str
        Symbols that have minutes.
    start, end : datetime
        Hours that open in [`start`, `end`) (UTC).
    as_of : datetime
        Time of the comparison.
    run_id : str
        Run that writes.

    Returns
    -------
    DataFrame
        `fetching.REVISION_SCHEMA`: the differing values, made of minutes and fetched. Hours that lack minutes are not
        compared; volumes are equal up to rounding.
    """
    made, fetched = (
        store.read(
            f"SELECT {', '.join(CANDLE_SCHEMA)} FROM market.{table} "  # noqa: S608 - constant names
            "WHERE symbol IN (SELECT unnest(?)) AND ts >= ? AND ts < ? AND minutes = 60 ORDER BY symbol, ts",
            [list(symbols), start, end],
        ).cast(CANDLE_SCHEMA)
        for table in ("candles_60m", "deep_60m")
    )
    fields = {name: f"{MINUTES_DIFFER}{name}" for name in (*checks.PRICES, *checks.VOLUMES)}
    rounded = made.join(fetched, on=["symbol", "ts"], suffix="_fetched").with_columns(
        pl.when(_alike(name)).then(f"{name}_fetched").otherwise(name).alias(name) for name in checks.VOLUMES
    )
    found = fetching.revisions(rounded.select(made.columns), fetched, as_of, fields)
    if found.height:
        known = store.read(
            f"SELECT {', '.join(fetching.REVISION_SCHEMA)} FROM market.candle_revisions WHERE seen_at <> ? "  # noqa: S608
            "AND symbol IN (SELECT unnest(?)) AND ts >= ? AND ts < ? AND starts_with(field, ?)",
            [as_of, list(symbols), start, end, MINUTES_DIFFER],
        ).cast(fetching.REVISION_SCHEMA)
        same = pl.all_horizontal(_same_number(name) for name in ("old_value", "new_value"))
        told = found.join(known, on=["symbol", "ts", "field"], suffix="_known").filter(same)
        new = found.join(told, on=["symbol", "ts", "field"], how="anti")
        with store.transaction(run_id) as tx:
            tx.replace(
                "market.candle_revisions", new, start, end,
                symbol=list(symbols), field=list(fields.values()), seen_at=as_of,
            )  # fmt: skip
    return found


def _alike(name: str) -> pl.Expr:
    return _near(pl.col(name), pl.col(f"{name}_fetched")).fill_null(value=False)


def _same_number(name: str) -> pl.Expr:
    """Return whether two texts are the same number up to rounding, or both null."""
    now, known = (pl.col(each).cast(pl.Float64) for each in (name, f"{name}_known"))
    return _near(now, known).fill_null(now.is_null() & known.is_null())


def _near(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    return (one - other).abs() <= 1e-9 * one.abs() + 1e-12


def _wanted(
    source: base.MarketSource, dataset: Deep, listings: pl.DataFrame
) -> tuple[list[tuple[str, datetime | None]], tuple[str, ...]]:
    """Return the symbols to request with their listing times, and a line for each that is passed over."""
    network = fetching.over_network(source)
    wanted, passed_over = [], []
    for symbol, listed, _, state in listings.select(base.LISTING_SCHEMA.names()).iter_rows():
        if network and state == base.DELISTED:
            continue
        shortest = _shortest(source, symbol)
        if shortest is None and state == base.DELISTED:
            passed_over.append(f"{symbol}: the source does not have it any more; what is stored of it stays")
        elif shortest and dataset.timeframe and MINUTES[shortest] > MINUTES[dataset.timeframe]:
            passed_over.append(
                f"{symbol}: no bars of {dataset.timeframe}, since the source's shortest are of {shortest}"
            )
        else:
            wanted.append((symbol, listed))
    return wanted, tuple(passed_over)


def _shortest(source: base.MarketSource, symbol: str) -> Timeframe | None:
    """Return the timeframe of a symbol's shortest bars; None if the source does not know the symbol."""
    try:
        return source.shortest(symbol)
    except MarketError:  # of a traded symbol, asking for its bars says what is wrong
        return None


def _ranges(
    wanted: Sequence[tuple[str, datetime | None]], start: datetime, end: datetime, covered: Mapping[str, _Known]
) -> list[_Range]:
    """Return what is to be fetched of each symbol, given its listing time and what is stored of it."""
    return [
        each for symbol, listed in wanted for each in _lacking(symbol, _first(listed, start), end, covered.get(symbol))
    ]


def _first(listed: datetime | None, start: datetime) -> datetime:
    """Return the midnight from which a symbol's history is wanted."""
    return floor_time(start if listed is None else max(start, listed), _DAY)


def _lacking(symbol: str, begin: datetime, end: datetime, known: _Known | None) -> list[_Range]:
    """Return what a symbol lacks: everything, or what follows its last bar, or what comes before an earlier begin."""
    if begin >= end:
        return []
    if known is None or begin < known.requested_from:
        return [_Range(symbol, begin, begin)]
    if known.requested_to >= end:
        return []
    midnight = floor_time(known.through or known.requested_from, _DAY)
    return [_Range(symbol, max(midnight - OVERLAP, known.requested_from), known.requested_from)]


def _chunks(ranges: Sequence[_Range], dataset: Deep, end: datetime, most: int) -> list[list[_Range]]:
    """Group ranges that begin near each other into chunks of about `most` rows."""
    chunks: list[list[_Range]] = []
    rows = room = 0.0
    for each in sorted(ranges, key=lambda each: (each.start, each.symbol)):
        if room < rows or not chunks:
            chunks.append([])
            rows, room = (end - each.start) / (dataset.length or timedelta(hours=1)), most
        chunks[-1].append(each)
        room -= rows
    return chunks


def _coverage(store: Warehouse, dataset: Deep) -> dict[str, _Known]:
    rows = store.read(
        "SELECT symbol, requested_from, requested_to, through, sound_to FROM market.deep_coverage WHERE dataset = ?",
        [dataset.name],
    )
    return {symbol: _Known(*known) for symbol, *known in rows.iter_rows()}


class _Storing(NamedTuple):
    """What storing every chunk needs."""

    store: Warehouse
    dataset: Deep
    as_of: datetime
    run_id: str


def _store(
    storing: _Storing,
    chunk: Sequence[_Range],
    listings: pl.DataFrame,
    stretch: tuple[datetime, datetime],
    fetched: pl.DataFrame,
) -> tuple[int, int | None]:
    """Store a chunk with its gaps and coverage; return the number of revised values and the snapshot."""
    store, dataset, as_of, run_id = storing
    start, end = stretch
    symbols = [each.symbol for each in chunk]
    until = end if dataset.timeframe is not None else end + timedelta(microseconds=1)
    held = _read(store, dataset, symbols, start, until)
    fresh = fetched.filter(pl.col("symbol").is_in(symbols), pl.col("ts") < until)
    rows = fetching.merged(held, fresh)
    same = held.join(fresh.select("symbol", "ts", "origin"), on=["symbol", "ts", "origin"], how="semi")
    changed = fetching.revisions(same, fresh, as_of, dataset.revised)
    with store.transaction(run_id) as tx:
        tx.replace(f"market.{dataset.name}", rows, start, until, symbol=symbols)
        tx.append("market.candle_revisions", changed)
        if dataset.timeframe is not None:
            found = _gaps(rows, listings, dataset.timeframe, stretch, as_of)
            before = _ledger(store, dataset, symbols, start, end)
            ledger = update_ledger(before, found, symbols, start, end, as_of)
            tx.replace(
                "market.deep_gaps", ledger.with_columns(dataset=pl.lit(dataset.name)), start, end,
                time_column="from_ts", dataset=dataset.name, symbol=symbols,
            )  # fmt: skip
        tx.replace(
            "market.deep_coverage", _covered(storing, chunk, (start, until), rows), dataset=dataset.name, symbol=symbols
        )
    return changed.height, tx.snapshot


def _covered(
    storing: _Storing, chunk: Sequence[_Range], stretch: tuple[datetime, datetime], rows: pl.DataFrame
) -> pl.DataFrame:
    """Return the coverage of a chunk's symbols after its rows are stored."""
    store, dataset = storing.store, storing.dataset
    symbols = [each.symbol for each in chunk]
    outside = store.read(
        f"SELECT symbol, max(ts) AS last, count(*) AS rows FROM market.{dataset.name} "  # noqa: S608 - constant name
        "WHERE symbol IN (SELECT unnest(?)) AND (ts < ? OR ts >= ?) GROUP BY symbol",
        [symbols, *stretch],
    ).cast({"last": TS, "rows": pl.Int64})
    inside = rows.group_by("symbol").agg(last=pl.col("ts").max(), rows=pl.len().cast(pl.Int64))
    counted = pl.concat([outside, inside]).group_by("symbol").agg(pl.col("last").max(), pl.col("rows").sum())
    until = stretch[1].replace(microsecond=0)
    before = _coverage(store, dataset)
    asked = pl.DataFrame(
        [(each.symbol, each.begin, *_checked(before.get(each.symbol), stretch[0], until)) for each in chunk],
        schema={"symbol": pl.String(), "requested_from": TS, "requested_to": TS, "sound_to": TS},
        orient="row",
    )
    return asked.join(counted, on="symbol", how="left").select(
        pl.lit(dataset.name).alias("dataset"),
        "symbol",
        "requested_from",
        "requested_to",
        "sound_to",
        (pl.col("last") + dataset.length).alias("through"),
        pl.col("rows").fill_null(0).cast(pl.Int32),
    )


def _checked(known: _Known | None, start: datetime, end: datetime) -> tuple[datetime, datetime | None]:
    """Return how far a symbol is requested and checked once rows from `start` to `end` are stored anew."""
    if known is None:
        return end, None
    return max(end, known.requested_to), min(start, known.sound_to) if known.sound_to else None


def _gaps(
    rows: pl.DataFrame,
    listings: pl.DataFrame,
    timeframe: Timeframe,
    stretch: tuple[datetime, datetime],
    found_at: datetime,
) -> pl.DataFrame:
    """Return the gaps of bars while their symbols were traded, cut at midnight, with `GAP_SCHEMA`."""
    length = bar_length(timeframe)
    holes = [flat_stretches(rows, *stretch, timeframe)]
    for symbol, listed, ended, state in listings.select(base.LISTING_SCHEMA.names()).iter_rows():
        own = rows.filter(pl.col("symbol") == symbol)
        last = own["ts"].max()
        over = ended or (last + length if state == base.DELISTED and isinstance(last, datetime) else None)
        first = own["ts"].min() if listed is None else listed
        if not isinstance(first, datetime):
            continue
        since, until = max(stretch[0], first), min(stretch[1], over or stretch[1])
        absent = checks.missing(own, timeframe, since, max(since, until), [symbol])
        holes.append(absent.select("symbol", "from_ts", "to_ts", kind=pl.lit(SOURCE_HOLE)))
    return ledger_rows(pl.concat(holes), timeframe, found_at)


def _ledger(store: Warehouse, dataset: Deep, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    return store.read(
        f"SELECT {', '.join(GAP_SCHEMA)} FROM market.deep_gaps WHERE dataset = ? "  # noqa: S608 - constant columns
        "AND symbol IN (SELECT unnest(?)) AND from_ts >= ? AND from_ts < ?",
        [dataset.name, list(symbols), start, end],
    ).cast(GAP_SCHEMA)


def _read(store: Warehouse, dataset: Deep, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    return store.read(
        f"SELECT {', '.join(dataset.schema)} FROM market.{dataset.name} "  # noqa: S608 - constant names
        "WHERE symbol IN (SELECT unnest(?)) AND ts >= ? AND ts < ? ORDER BY symbol, ts",
        [list(symbols), start, end],
    ).cast(dataset.schema)
