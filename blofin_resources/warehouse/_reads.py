"""Reads for domain code and assets: candles and funding by as-of, coverage, broken keys.

Belongs here: SQL that reads, as functions of a `read` callable. Does not belong here: connections, writes.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import polars as pl

from blofin_resources.warehouse import _sql
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MARK_SCHEMA, MINUTES, POSITIONING_SCHEMA, Timeframe, bar_length

Read = Callable[[str, Sequence[object]], pl.DataFrame]

_CANDLES: Final = ", ".join(CANDLE_SCHEMA)


def candles(
    read: Read, symbols: Sequence[str], timeframe: Timeframe, start: datetime | None, end: datetime
) -> pl.DataFrame:
    """See `CandleSource.candles`."""
    table = _candle_table(timeframe)
    since = "" if start is None else "AND ts >= ?"
    frame = _of_symbols(
        read,
        f"SELECT {_CANDLES} FROM {table} WHERE symbol IN ({_sql.marks(symbols)}) AND ts <= ? {since}",
        symbols,
        [_zoned(end) - bar_length(timeframe), *([] if start is None else [_zoned(start)])],
    )
    return _checked(read, frame.cast(CANDLE_SCHEMA), symbols)


def last_candles(read: Read, symbols: Sequence[str], timeframe: Timeframe, as_of: datetime, count: int) -> pl.DataFrame:
    """See `CandleSource.last_candles`."""
    if count < 1:
        msg = f"count must be at least 1, not {count}"
        raise ValueError(msg)
    # reading back a little more than asked for is much cheaper than ranking the whole history, unless there are gaps
    back = bar_length(timeframe) * (count + 1) + timedelta(hours=1)
    frame = pl.DataFrame(schema=CANDLE_SCHEMA)
    for start in (_zoned(as_of) - back, as_of - back * 10, None):
        frame = candles(read, symbols, timeframe, start, as_of)
        full = frame.group_by("symbol").len().filter(pl.col("len") >= count).height
        if full == len(set(symbols)):
            break
    return frame.group_by("symbol", maintain_order=True).tail(count).select(CANDLE_SCHEMA.names())


def funding(read: Read, symbols: Sequence[str], start: datetime | None, end: datetime) -> pl.DataFrame:
    """See `CandleSource.funding`."""
    since = "" if start is None else "AND ts >= ?"
    frame = _of_symbols(
        read,
        f"SELECT symbol, ts, rate FROM market.funding_rates "
        f"WHERE symbol IN ({_sql.marks(symbols)}) AND ts <= ? {since}",
        symbols,
        [_zoned(end), *([] if start is None else [_zoned(start)])],
    )
    return _checked(read, frame.cast(FUNDING_SCHEMA), symbols)


def mark_candles(read: Read, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """See `CandleSource.mark_candles`."""
    columns = ", ".join(MARK_SCHEMA)
    frame = _of_symbols(
        read,
        f"SELECT {columns} FROM market.mark_candles_1m WHERE symbol IN ({_sql.marks(symbols)}) AND ts >= ? AND ts <= ?",
        symbols,
        [_zoned(start), _zoned(end) - bar_length("1m")],
    )
    return frame.cast(MARK_SCHEMA)


def positioning(read: Read, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """See `PositioningSource.positioning`."""
    columns = ", ".join(POSITIONING_SCHEMA)
    frame = _of_symbols(
        read,
        f"SELECT {columns} FROM market.positioning WHERE symbol IN ({_sql.marks(symbols)}) AND ts >= ? AND ts <= ?",
        symbols,
        [_zoned(start), _zoned(end)],
    )
    return frame.cast(POSITIONING_SCHEMA)


def covered(read: Read, dataset: str, symbols: Sequence[str], start_day: date, end_day: date) -> pl.DataFrame:
    """See `Warehouse.covered`."""
    return _covered(read, [dataset], symbols, start_day, end_day).drop("dataset")


def missing_days(
    read: Read,
    datasets: Sequence[str],
    symbols: Sequence[str],
    start_day: date,
    end_day: date,
    *,
    as_of: datetime | None,
) -> dict[str, list[date]]:
    """See `Warehouse.missing_days`."""
    stored = _covered(read, datasets, symbols, start_day, end_day)
    through = {(dataset, symbol, day): until for dataset, symbol, day, until, _ in stored.iter_rows()}
    days = [start_day + timedelta(days=ahead) for ahead in range((end_day - start_day).days)]
    return {
        dataset: [
            day
            for day in days
            if not all(_reaches(through.get((dataset, symbol, day)), day, as_of) for symbol in symbols)
        ]
        for dataset in datasets
    }


def _covered(
    read: Read, datasets: Sequence[str], symbols: Sequence[str], start_day: date, end_day: date
) -> pl.DataFrame:
    return _of_symbols(
        read,
        f"SELECT dataset, symbol, day, through, rows FROM market.coverage "
        f"WHERE symbol IN ({_sql.marks(symbols)}) AND list_contains(?, dataset) AND day >= ? AND day < ?",
        symbols,
        [list(datasets), start_day, end_day],
        order="dataset, symbol, day",
    )


def _reaches(through: datetime | None, day: date, as_of: datetime | None) -> bool:
    midnight = datetime.combine(day, time(), UTC)
    needed = midnight + timedelta(days=1) if as_of is None else min(as_of, midnight + timedelta(days=1))
    return needed <= midnight or (through is not None and through >= needed)


def broken_keys(read: Read) -> list[str]:
    """See `Warehouse.integrity`."""
    keys = read("SELECT table_name, columns FROM meta.table_keys ORDER BY table_name", [])
    if keys.is_empty():
        return []
    found = read(" UNION ALL ".join(_twice(table, key) for table, key in keys.iter_rows()), [])
    times = dict(found.iter_rows())
    return [
        f"{table} holds more than one row for {times[table]} values of ({', '.join(key)})"
        for table, key in keys.iter_rows()
        if times[table]
    ]


def _twice(table: str, key: Sequence[str]) -> str:
    """Return the query for how many keys a table holds more than once."""
    groups = f"SELECT 1 FROM {_sql.name(table)} GROUP BY {_sql.names(key)} HAVING count(*) > 1"
    return f"SELECT {_sql.text(table)} AS table_name, count(*) AS number FROM ({groups})"


def _candle_table(timeframe: Timeframe) -> str:
    if timeframe not in MINUTES:
        msg = f"no timeframe {timeframe!r}; there are {', '.join(MINUTES)}"
        raise LookupError(msg)
    return f"market.candles_{timeframe}"


def _of_symbols(
    read: Read, sql: str, symbols: Sequence[str], values: Sequence[object], order: str = "symbol, ts"
) -> pl.DataFrame:
    if isinstance(symbols, str):
        msg = f"give symbols as a list: [{symbols!r}]"
        raise TypeError(msg)
    wanted = symbols or [""]
    return read(
        sql.replace("IN ()", "IN (?)") + f" ORDER BY {order}",
        [*wanted, *values],
    )


def _checked(read: Read, frame: pl.DataFrame, symbols: Sequence[str]) -> pl.DataFrame:
    """Return the frame, or refuse symbols that are not in the warehouse."""
    absent = set(symbols) - set(frame["symbol"].unique())
    if not absent:
        return frame
    known = set(known_symbols(read))
    unknown = sorted(absent - known)
    if unknown:
        has = f"the warehouse has {', '.join(sorted(known))}" if known else "the warehouse has no symbols yet"
        msg = f"unknown symbol {', '.join(unknown)}; {has}; set BLOFIN_SYMBOLS to follow others, then: blofin run"
        raise LookupError(msg)
    return frame


def known_symbols(read: Read) -> list[str]:
    """Return every symbol that has an instrument or a 1-minute candle, sorted."""
    return read("SELECT symbol FROM market.instruments UNION SELECT symbol FROM market.candles_1m ORDER BY symbol", [])[
        "symbol"
    ].to_list()


def _zoned(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        msg = f"{moment!r} has no time zone; give a UTC time such as 2025-06-12T00:00:00Z"
        raise ValueError(msg)
    return moment
