"""Deep history: years of hours, days and funding, fetched as such and stored by chunks of symbols.

Belongs here: what is lacking of a symbol's history, fetching and storing it, its gaps and revisions. Does not belong
here: minutes (`ingestion`), which symbols make up the universe (`universe`), any one source.

A chunk of symbols is one commit of rows, gaps and coverage, so an interruption costs one chunk, and memory does not
grow with the number of symbols. The next request for a symbol begins `OVERLAP` before its last bar: what a source adds
or revises late is seen, and a symbol that was away is continued where it stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import polars as pl

from blofin_resources.errors import MarketError
from blofin_resources.market import checks, fetching
from blofin_resources.market import source as base
from blofin_resources.market.gaps import GAP_SCHEMA, SINGLE_PRICE, SOURCE_HOLE, update_ledger
from blofin_resources.market.ingestion import Ingested
from blofin_resources.warehouse import Warehouse
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, TS, Timeframe, bar_length

OVERLAP: Final = timedelta(days=3)
"""How much of what is stored is fetched again with what follows it, to notice late bars and revisions."""

ROWS_AT_ONCE: Final = 500_000
NETWORK_ROWS_AT_ONCE: Final = 100_000
"""About how many rows are in memory and in one commit; over the network, an interruption costs that many."""

_DAY: Final = timedelta(days=1)
_COVERAGE: Final = pl.Schema(
    {
        "dataset": pl.String(), "symbol": pl.String(), "requested_from": TS, "requested_to": TS, "through": TS,
        "rows": pl.Int32(),
    }
)  # fmt: skip


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
        Counts of rows and revisions, and the last snapshot.

    Raises
    ------
    MarketError
        After storing the other symbols, if some failed (the text names each); or if the source is unavailable.
    """
    network = fetching.over_network(source)
    covered = {} if force else _coverage(store, dataset)
    ranges = [
        wanted
        for symbol, listed, _, state in listings.select(base.LISTING_SCHEMA.names()).iter_rows()
        if not (network and state == base.DELISTED)
        for wanted in _lacking(symbol, _first(listed, start), end, covered.get(symbol))
    ]
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
    return Ingested(rows, revised, snapshot)


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
    fields = {name: f"minutes_60m_{name}" for name in (*checks.PRICES, *checks.VOLUMES)}
    rounded = made.join(fetched, on=["symbol", "ts"], suffix="_fetched").with_columns(
        pl.when(_alike(name)).then(f"{name}_fetched").otherwise(name).alias(name) for name in checks.VOLUMES
    )
    found = fetching.revisions(rounded.select(made.columns), fetched, as_of, fields)
    if found.height:
        with store.transaction(run_id) as tx:
            tx.append("market.candle_revisions", found, key=["symbol", "ts", "field", "old_value", "new_value"])
    return found


def _alike(name: str) -> pl.Expr:
    made, fetched = pl.col(name), pl.col(f"{name}_fetched")
    return ((made - fetched).abs() <= 1e-9 * made.abs() + 1e-12).fill_null(value=False)


def _first(listed: datetime | None, start: datetime) -> datetime:
    """Return the midnight from which a symbol's history is wanted."""
    begin = start if listed is None else max(start, listed)
    return begin.replace(hour=0, minute=0, second=0, microsecond=0)


def _lacking(
    symbol: str, begin: datetime, end: datetime, known: tuple[datetime, datetime, datetime | None] | None
) -> list[_Range]:
    """Return what a symbol lacks: everything, or what follows its last bar, or what comes before an earlier begin."""
    if begin >= end:
        return []
    if known is None or begin < known[0]:
        return [_Range(symbol, begin, begin)]
    requested_from, requested_to, through = known
    if requested_to >= end:
        return []
    midnight = (through or requested_from).replace(hour=0, minute=0, second=0, microsecond=0)
    return [_Range(symbol, max(midnight - OVERLAP, requested_from), requested_from)]


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


def _coverage(store: Warehouse, dataset: Deep) -> dict[str, tuple[datetime, datetime, datetime | None]]:
    rows = store.read(
        "SELECT symbol, requested_from, requested_to, through FROM market.deep_coverage WHERE dataset = ?",
        [dataset.name],
    )
    return {symbol: (first, last, through) for symbol, first, last, through in rows.iter_rows()}


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
        [(each.symbol, each.begin, max(until, before.get(each.symbol, (until, until))[1])) for each in chunk],
        schema={"symbol": pl.String(), "requested_from": TS, "requested_to": TS},
        orient="row",
    )
    return asked.join(counted, on="symbol", how="left").select(
        pl.lit(dataset.name).alias("dataset"),
        "symbol",
        "requested_from",
        "requested_to",
        (pl.col("last") + dataset.length).alias("through"),
        pl.col("rows").fill_null(0).cast(pl.Int32),
    )


def _gaps(
    rows: pl.DataFrame,
    listings: pl.DataFrame,
    timeframe: Timeframe,
    stretch: tuple[datetime, datetime],
    found_at: datetime,
) -> pl.DataFrame:
    """Return the gaps of bars while their symbols were traded, cut at midnight, with `GAP_SCHEMA`."""
    length = bar_length(timeframe)
    flat = rows.filter(pl.col("flag").fill_null("").str.split(",").list.contains(SINGLE_PRICE)).select(
        "symbol", from_ts="ts", to_ts=pl.col("ts") + length, kind=pl.lit(SINGLE_PRICE)
    )
    holes = [flat]
    for symbol, listed, ended, state in listings.select(base.LISTING_SCHEMA.names()).iter_rows():
        own = rows.filter(pl.col("symbol") == symbol)
        last = own["ts"].max()
        over = ended or (last + length if state == base.DELISTED and isinstance(last, datetime) else None)
        first = own["ts"].min() if listed is None else listed
        if not isinstance(first, datetime):
            continue
        since = max(stretch[0], _ceil(first, length))
        until = min(stretch[1], over or stretch[1])
        if since < until:
            absent = checks.missing(own, timeframe, since, until, [symbol])
            holes.append(absent.select("symbol", "from_ts", "to_ts", kind=pl.lit(SOURCE_HOLE)))
    days = pl.datetime_ranges(pl.col("from_ts").dt.truncate("1d"), (pl.col("to_ts") - length).dt.truncate("1d"), "1d")
    cut = pl.concat(holes).with_columns(day=days).explode("day")
    return (
        cut.with_columns(
            from_ts=pl.max_horizontal("from_ts", "day"),
            to_ts=pl.min_horizontal("to_ts", pl.col("day").dt.offset_by("1d")),
        )
        .with_columns(
            bars=((pl.col("to_ts") - pl.col("from_ts")) / length).round().cast(pl.Int32),
            found_at=pl.lit(found_at, TS),
            closed_at=pl.lit(None, TS),
            looked_at=pl.lit(found_at, TS),
        )
        .select(GAP_SCHEMA.names())
        .cast(GAP_SCHEMA)
        .sort("symbol", "from_ts")
    )


def _ceil(moment: datetime, length: timedelta) -> datetime:
    rest = (moment - datetime(1970, 1, 1, tzinfo=moment.tzinfo)) % length
    return moment + (length - rest if rest else timedelta())


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
