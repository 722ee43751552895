"""A folder of candles that a user already has, as a market source.

Belongs here: reading `<SYMBOL>_1m.parquet` or `.csv`, `<SYMBOL>_funding.*` and `<SYMBOL>_mark.*`, and refusing what is
wrong in them.
Does not belong here: candles from the network (`blofin`), the older system's ticks (`ticks`).

A file is scanned lazily: only the range asked is read, and only what is read is checked.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from blofin_resources.errors import MarketError
from blofin_resources.market import base, checks
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MARK_SCHEMA, TS

_CANDLES: Final = ("ts", "open", "high", "low", "close", "volume")
_FURTHER: Final = ("quote_volume", "contracts")
_FUNDING: Final = ("ts", "rate")
_MARKS: Final = ("ts", "open", "high", "low", "close")
_SUFFIXES: Final = (".parquet", ".csv")
_NAME: Final = re.compile(r"(?P<symbol>[A-Z0-9]+-[A-Z0-9]+)_1m")
_MINUTE: Final = timedelta(minutes=1)


class ArchiveMarket:
    """Candles and funding from the files of one folder.

    `<SYMBOL>_1m.parquet` or `.csv` has the columns ts, open, high, low, close, volume (base units);
    `<SYMBOL>_funding.parquet` or `.csv`, which may be absent, has ts and rate; `<SYMBOL>_mark.parquet` or `.csv`, which
    may be absent, has ts, open, high, low, close of 1-minute bars of the mark price. Times are milliseconds since 1970,
    ISO 8601 text, or datetimes; without a time zone they are taken as UTC. quote_volume (quote currency) and contracts
    are read where a file has them and null, which is unknown, where not. Further columns are ignored.

    Parameters
    ----------
    folder : Path
        Where the files are.

    Raises
    ------
    MarketError
        Where the folder does not exist or holds no candle file; and, by the methods, where a file cannot be read,
        lacks a column, or holds rows that no market makes: out of order, twice, null, NaN, not positive, high below
        low. The text names the file, the row's time and the value.
    """

    name = "archive"
    identity = "archive"
    synthetic = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = _candle_files(folder)
        self._first: dict[str, base.Coverage] = {}

    def symbols(self) -> tuple[str, ...]:
        """See `MarketSource.symbols`."""
        return tuple(sorted(self._files))

    def first_ts(self, symbol: str) -> datetime:
        """See `MarketSource.first_ts`."""
        return self.coverage(symbol).first

    def coverage(self, symbol: str) -> base.Coverage:
        """See `MarketSource.coverage`: from the first row to the close of the last one."""
        self._check([symbol])
        if symbol not in self._first:
            path = self._files[symbol]
            ends = _collect(_scan(path, _CANDLES).select(first=pl.col("ts").min(), last=pl.col("ts").max()), path)
            first, last = ends.row(0)
            if first is None:
                msg = f"{path} has no rows; put candles into it or take it out of the folder"
                raise MarketError(msg)
            self._first[symbol] = base.Coverage(first, last + _MINUTE)
        return self._first[symbol]

    def instruments(self, symbols: Sequence[str], as_of: datetime) -> pl.DataFrame:
        """See `MarketSource.instruments`; files tell the currencies and the first candle, the rest is null."""
        self._check(symbols)
        rows = [
            {
                "symbol": symbol,
                "as_of": as_of,
                "base_currency": symbol.split("-")[0],
                "quote_currency": symbol.split("-")[1],
                "list_time": self.first_ts(symbol),
                "state": "live",
                "origin": self.name,
            }
            for symbol in sorted(set(symbols))
        ]
        return pl.DataFrame(rows, schema=base.INSTRUMENT_SCHEMA)

    def candles_1m(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.candles_1m`."""
        self._check(symbols)
        base.require_range(start, end)
        base.require_begun({symbol: self.first_ts(symbol) for symbol in symbols}, end, f"archive {self._folder}")
        return pl.concat(self._candles(symbol, start, end) for symbol in sorted(set(symbols)))

    def funding(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.funding`; a symbol without a funding file has no rows."""
        self._check(symbols)
        base.require_range(start, end)
        frames = [self._funding(symbol, start, end) for symbol in sorted(set(symbols))]
        return pl.concat([base.no_funding(), *frames])

    def mark_candles_1m(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.mark_candles_1m`; a symbol without a file of mark prices has no rows."""
        self._check(symbols)
        base.require_range(start, end)
        frames = [self._marks(symbol, start, end) for symbol in sorted(set(symbols))]
        return pl.concat([base.no_marks(), *frames])

    def _check(self, symbols: Sequence[str]) -> None:
        base.require_known(symbols, self._files, f"archive {self._folder}")

    def _candles(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        path = self._files[symbol]
        rows = _scan(path, _CANDLES, _FURTHER).filter(_within(start, end - _MINUTE))
        frame = (
            _collect(rows, path)
            .with_columns(
                symbol=pl.lit(symbol),
                minutes=pl.lit(1, pl.Int32),
                origin=pl.lit(self.name),
                flag=pl.lit(None, pl.String),
            )
            .select(CANDLE_SCHEMA.names())
        )
        _require_sound(frame, path)
        return checks.flag_single_price(frame)

    def _funding(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        path = self._beside(symbol, "funding")
        if path is None:
            return base.no_funding()
        rows = _scan(path, _FUNDING).filter(_within(start, end))
        frame = _collect(rows, path).with_columns(symbol=pl.lit(symbol)).select(FUNDING_SCHEMA.names())
        _require(frame.filter(~pl.col("rate").is_finite().fill_null(value=False)), path, "rate {}", "rate")
        _require_order(frame, path)
        return frame

    def _marks(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        path = self._beside(symbol, "mark")
        if path is None:
            return base.no_marks()
        rows = _scan(path, _MARKS).filter(_within(start, end - _MINUTE))
        frame = _collect(rows, path).with_columns(symbol=pl.lit(symbol)).select(MARK_SCHEMA.names())
        _require_order(frame, path)
        for check in (checks.positive_prices, checks.ohlc_order):
            _require(check(frame), path, "{}", "detail")
        _require(checks.on_grid(frame, "1m"), path, "{}", "detail")
        return frame

    def _beside(self, symbol: str, what: str) -> Path | None:
        """Return a symbol's further file, which it may lack; Parquet goes before CSV."""
        paths = [self._folder / f"{symbol}_{what}{suffix}" for suffix in _SUFFIXES]
        return next((path for path in paths if path.is_file()), None)


def _candle_files(folder: Path) -> dict[str, Path]:
    """Return the candle file of each symbol; Parquet goes before CSV where a symbol has both."""
    if not folder.is_dir():
        msg = f"archive folder {folder} does not exist; set BLOFIN_ARCHIVE to a folder of <SYMBOL>_1m.parquet or .csv"
        raise MarketError(msg)
    files: dict[str, Path] = {}
    for suffix in _SUFFIXES:
        for path in sorted(folder.glob(f"*_1m{suffix}")):
            match = _NAME.fullmatch(path.stem)
            if match is not None:
                files.setdefault(match["symbol"], path)
    if not files:
        msg = f"archive folder {folder} holds no candles; it needs files such as BTC-USDT_1m.parquet or BTC-USDT_1m.csv"
        raise MarketError(msg)
    return files


def _scan(path: Path, columns: Sequence[str], further: Sequence[str] = ()) -> pl.LazyFrame:
    """Return the file's `columns`, and `further` ones or nulls, as a lazy frame with `ts` in UTC and Float64 values."""
    numbers = {column: pl.Float64() for column in (*columns, *further) if column != "ts"}
    try:
        scanned = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path, schema_overrides=numbers)
        schema = scanned.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error
    absent = [column for column in columns if column not in schema]
    if absent:
        msg = f"{path} lacks the column {', '.join(absent)}; it has: {', '.join(schema.names())}"
        raise MarketError(msg)
    there = [name for name in (*columns, *further) if name in schema and name != "ts"]
    unknown = [pl.lit(None, pl.Float64).alias(name) for name in further if name not in schema]
    return scanned.select(_time(schema, path), *(_number(name, schema, path) for name in there), *unknown)


def _within(start: datetime, end: datetime) -> pl.Expr:
    """Return the filter of a range; rows without a time stay in, to be refused."""
    return pl.col("ts").is_between(start, end) | pl.col("ts").is_null()


def _time(schema: Mapping[str, pl.DataType], path: Path) -> pl.Expr:
    """Return the expression that reads `ts` whatever it is written as."""
    dtype = schema["ts"]
    column = pl.col("ts")
    if isinstance(dtype, pl.Datetime):
        return column.dt.convert_time_zone("UTC").cast(TS) if dtype.time_zone else column.cast(TS)
    if dtype.is_integer():
        return pl.from_epoch(column, time_unit="ms").cast(TS)
    if dtype == pl.String:
        _require_iso(path)
        return column.str.to_datetime(time_unit="us", time_zone="UTC", strict=True)
    msg = f"{path} has ts as {dtype}; write it as milliseconds since 1970, ISO 8601 text or a datetime"
    raise MarketError(msg)


def _require_iso(path: Path) -> None:
    """Raise `MarketError` where the first time of a file is text that cannot be a time."""
    scanned = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path)
    first = _collect(scanned.select("ts").head(1), path)["ts"]
    try:
        first.str.to_datetime(time_unit="us", time_zone="UTC", strict=True)
    except pl.exceptions.PolarsError as error:
        msg = f"{path} has ts {first.item()!r}; write times as milliseconds since 1970 or ISO 8601"
        raise MarketError(msg) from error


def _number(name: str, schema: Mapping[str, pl.DataType], path: Path) -> pl.Expr:
    dtype = schema[name]
    if not (dtype.is_numeric() or dtype in (pl.String, pl.Null)):
        msg = f"{path} has {name} as {dtype}; write it as a number"
        raise MarketError(msg)
    return pl.col(name).cast(pl.Float64, strict=True)


def _collect(rows: pl.LazyFrame, path: Path) -> pl.DataFrame:
    try:
        return rows.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> MarketError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return MarketError(f"cannot read {path}: {reason[:200]}")


def _require_sound(frame: pl.DataFrame, path: Path) -> None:
    """Raise `MarketError` for the first row that no market makes."""
    _require_order(frame, path)
    for check in (checks.positive_prices, checks.ohlc_order, checks.sound_volumes):
        _require(check(frame), path, "{}", "detail")
    _require(checks.on_grid(frame, "1m"), path, "{}", "detail")


def _require_order(frame: pl.DataFrame, path: Path) -> None:
    _require(frame.filter(pl.col("ts").is_null()), path, "a row without ts{}", pl.lit(""))
    _require(checks.duplicates(frame), path, "{}", "detail")
    _require(checks.time_order(frame), path, "out of order: {}", "detail")


def _require(wrong: pl.DataFrame, path: Path, text: str, value: str | pl.Expr) -> None:
    if wrong.is_empty():
        return
    ts, detail = wrong.head(1).select("ts", pl.format(text, value)).row(0)
    more = f" (and {len(wrong) - 1} rows more)" if len(wrong) > 1 else ""
    at = "" if ts is None else f" at {base.iso(ts)}"
    msg = f"{path}{at}: {detail}{more}; correct the file or take the row out"
    raise MarketError(msg)
