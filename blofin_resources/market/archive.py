"""A folder of candles that a user already has, as a market source.

Belongs here: reading `<SYMBOL>_<timeframe>.parquet` or `.csv`, `<SYMBOL>_funding.*` and `<SYMBOL>_mark.*`, and refusing
what is wrong in them.
Does not belong here: candles from the network (`blofin`), the older system's ticks (`ticks`).

A file is scanned lazily: only the range asked is read, and only what is read is checked, but for its times, which are
judged whole: one row tells nothing of the unit.
"""

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from backtester.resampling import aggregate
from blofin_resources.errors import MarketError
from blofin_resources.market import checks
from blofin_resources.market import source as base
from blofin_resources.market.times import require_spacing, time_of
from features.bars import (
    CANDLE_SCHEMA,
    FUNDING_SCHEMA,
    MARK_SCHEMA,
    MINUTES,
    MOST_FUNDING,
    POSITIONING_SCHEMA,
    TIMEFRAMES,
    TS,
    Timeframe,
    bar_length,
    floor_time,
    funding_time,
)

CANDLE_COLUMNS: Final = ("ts", "open", "high", "low", "close", "volume")
FURTHER_COLUMNS: Final = ("quote_volume", "contracts")
FUNDING_COLUMNS: Final = ("ts", "rate")
MARK_COLUMNS: Final = ("ts", "open", "high", "low", "close")
POSITIONING_COLUMNS: Final = ("ts", *(name for name in POSITIONING_SCHEMA if name not in ("symbol", "ts")))
"""Columns of the files of an archive; candles may have `FURTHER_COLUMNS`, too, and positioning data lack all but ts."""

_SUFFIXES: Final = (".parquet", ".csv")
_ALIASES: Final[dict[str, Timeframe]] = {"1h": "60m"}
"""Other names of timeframes."""
_FRAMES: Final[dict[str, Timeframe]] = {**{timeframe: timeframe for timeframe in TIMEFRAMES}, **_ALIASES}
_KINDS: Final = (*_FRAMES, "funding", "mark", "metrics")
_NAME: Final = re.compile(rf"(?P<symbol>[A-Z0-9]+-[A-Z0-9]+)_(?P<kind>{'|'.join(_KINDS)})")
_OTHER_FORMS: Final = re.compile(
    rf"\.(csv|parquet|feather|arrow|ipc|json|jsonl|zip|gz|bz2|xz|zst)$|_({'|'.join(_KINDS)})\.\w+$", re.IGNORECASE
)
"""Names that look like data."""

_MINUTE: Final = timedelta(minutes=1)
_SHOWN: Final = 10

ENDED_AFTER: Final = timedelta(days=1)
"""A file that ends this long before the others is of a symbol that is not traded any more."""

USUAL_FUNDING: Final = 0.002
"""A median rate above this is more than a market pays for long: such a file is asked whether it is in percent."""

_LOG: Final = logging.getLogger(__name__)


class _Times(NamedTuple):
    """What the times of a file are read by, and the first and the last of them."""

    read: pl.Expr
    first: datetime | None
    last: datetime | None


class ArchiveMarket:
    """Candles and funding from the files of one folder.

    `<SYMBOL>_<timeframe>.parquet` or `.csv`, such as `BTC-USDT_1m.parquet`, has the columns ts, open, high, low, close,
    volume (base units); bars of a timeframe without a file are made of the longest shorter ones that have one.
    `<SYMBOL>_funding.parquet` or `.csv`, which may be absent, has ts and rate; `<SYMBOL>_mark.parquet` or `.csv`, which
    may be absent, has ts, open, high, low, close of 1-minute bars of the mark price. `<SYMBOL>_metrics.parquet` or
    `.csv`, which may be absent, has ts and any of `POSITIONING_COLUMNS`. Times are seconds, milliseconds,
    microseconds or nanoseconds since 1970 (`times`), ISO 8601 text, or datetimes; without a time zone they are taken as
    UTC. quote_volume (quote currency) and contracts are read where a file has them and null, which is unknown, where
    not. Further columns are ignored. Files that are passed over, and what is doubtful, are named in the log and in
    `warnings`.

    Parameters
    ----------
    folder : Path
        Where the files are.

    Raises
    ------
    MarketError
        Where the folder does not exist or holds no candle file; and, by the methods, where a file cannot be read,
        lacks a column, has rows of another length than its timeframe, or holds rows that no market makes: out of order,
        twice, null, NaN, not positive, high below low, a funding rate beyond `MOST_FUNDING`. The text names the file,
        the row's time and the value.
    """

    name = "archive"
    identity = "archive"
    synthetic = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files, passed_over = _candle_files(folder)
        self._times: dict[Path, tuple[tuple[int, int], _Times]] = {}
        self._warnings: list[str] = []
        if passed_over:
            shown = "; ".join(passed_over[:_SHOWN]) + (
                f"; and {len(passed_over) - _SHOWN} more" if len(passed_over) > _SHOWN else ""
            )
            self._warn(f"archive folder {folder}: skipped: {shown}")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was passed over or is doubtful, as far as the files were read."""
        return tuple(self._warnings)

    def symbols(self) -> tuple[str, ...]:
        """See `MarketSource.symbols`: those that have candles of any timeframe."""
        return tuple(sorted(self._files))

    def shortest(self, symbol: str) -> Timeframe:
        """See `MarketSource.shortest`: the shortest of the symbol's files."""
        self._check([symbol])
        return min(self._files[symbol], key=TIMEFRAMES.index)

    def listings(self) -> pl.DataFrame:
        """See `MarketSource.listings`; a symbol whose bars end more than `ENDED_AFTER` before another's is delisted.

        A symbol whose file cannot be read has no times; reading its bars says why.
        """
        rows: list[tuple[str, datetime | None, datetime | None]] = []
        for symbol, files in sorted(self._files.items()):
            try:
                spans = [self._span(path, timeframe) for timeframe, path in files.items()]
            except MarketError:
                rows.append((symbol, None, None))
                continue
            rows.append((symbol, min(span.first for span in spans), max(span.through for span in spans)))
        listed = pl.DataFrame(rows, schema={"symbol": pl.String(), "list_time": TS, "end": TS}, orient="row")
        ended = pl.col("end").max() - pl.col("end") > ENDED_AFTER
        return listed.select(
            "symbol",
            "list_time",
            delist_time=pl.when(ended).then("end"),
            state=pl.when(ended).then(pl.lit(base.DELISTED)).otherwise(pl.lit("live")),
        )

    def first_ts(self, symbol: str) -> datetime:
        """See `MarketSource.first_ts`."""
        return self.coverage(symbol).first

    def coverage(self, symbol: str) -> base.Coverage:
        """See `MarketSource.coverage`: from the first row to the close of the last one."""
        return self._span(*self._made_of(symbol, self.shortest(symbol)))

    def _span(self, path: Path, timeframe: Timeframe) -> base.Coverage:
        times = self._read_times(path, CANDLE_COLUMNS, timeframe)
        if times.first is None or times.last is None:
            msg = f"{path} has no rows; add candles or remove it from the folder"
            raise MarketError(msg)
        return base.Coverage(times.first, times.last + bar_length(timeframe))

    def _made_of(self, symbol: str, timeframe: Timeframe) -> tuple[Path, Timeframe]:
        """Return the file from which bars are read or made: of this timeframe, else of the longest shorter one."""
        self._check([symbol])
        files = self._files[symbol]
        shorter = [each for each in TIMEFRAMES if each in files and MINUTES[each] <= MINUTES[timeframe]]
        if not shorter:
            msg = f"archive {self._folder} has no {timeframe} bars of {symbol} or shorter; it has: {', '.join(files)}"
            raise MarketError(msg)
        return files[shorter[-1]], shorter[-1]

    def ended(self, symbols: Sequence[str], as_of: datetime) -> datetime | None:
        """Return when the last bar of some symbols closes, if that is more than `ENDED_AFTER` before `as_of`.

        Nothing after it can come unless the files go on.

        Raises
        ------
        MarketError
            As for `coverage`.
        """
        newest = max(self.coverage(symbol).through for symbol in symbols)
        return newest if as_of - newest > ENDED_AFTER else None

    def instruments(self, symbols: Sequence[str], as_of: datetime) -> pl.DataFrame:
        """See `MarketSource.instruments`; files give the currencies and the first candle, the rest is null.

        A symbol whose file ends more than `ENDED_AFTER` before another's of those requested is delisted from its last
        bar on. If all files end together, or one earlier by less, its end is unknown: data may not have arrived yet.
        """
        self._check(symbols)
        for place, shortest in enumerate(TIMEFRAMES[1:], 1):
            alike = ", ".join(symbol for symbol in symbols if self.shortest(symbol) == shortest)
            if alike:
                self._warn(f"no lanes on {', '.join(TIMEFRAMES[:place])}: the shortest bars are {shortest} of {alike}")
        through = {symbol: self.coverage(symbol).through for symbol in symbols}
        newest = max(through.values())
        if self.ended(symbols, as_of):
            self._warn(
                f"the files end at {newest:%Y-%m-%d %H:%M} UTC, {(as_of - newest).days} days before this run; for a "
                f"run as of their end: blofin run --as-of {newest:%Y-%m-%dT%H:%M:%SZ}"
            )
        ended = {s for s, last in through.items() if last <= as_of and newest - last > ENDED_AFTER}
        rows = [
            {
                "symbol": symbol,
                "as_of": as_of,
                "base_currency": symbol.split("-")[0],
                "quote_currency": symbol.split("-")[1],
                "list_time": self.first_ts(symbol),
                "state": base.DELISTED if symbol in ended else "live",
                "origin": self.name,
            }
            for symbol in sorted(set(symbols))
        ]
        return pl.DataFrame(rows, schema=base.INSTRUMENT_SCHEMA)

    def candles(self, symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime) -> pl.DataFrame:
        """See `MarketSource.candles`."""
        self._check(symbols)
        base.require_range(start, end)
        first = {symbol: self._span(*self._made_of(symbol, timeframe)).first for symbol in symbols}
        base.require_begun(first, end, f"archive {self._folder}")
        return pl.concat(self._candles(symbol, timeframe, start, end) for symbol in sorted(set(symbols)))

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

    def positioned(self) -> dict[str, datetime | None]:
        """See `HasPositioning.positioned`; a file without rows is none."""
        through: dict[str, datetime | None] = {}
        for symbol in sorted(self._files):
            path = self._beside(symbol, "metrics")
            try:
                last = None if path is None else self._read_times(path, ("ts",), None).last
            except MarketError:
                through[symbol] = None
            else:
                if last is not None:
                    through[symbol] = last
        return through

    def positioning(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `HasPositioning.positioning`; a symbol without a file of metrics has no rows."""
        self._check(symbols)
        base.require_range(start, end)
        frames = [self._positioning(symbol, start, end) for symbol in sorted(set(symbols))]
        return pl.concat([base.no_positioning(), *frames])

    def _check(self, symbols: Sequence[str]) -> None:
        base.require_known(symbols, self._files, f"archive {self._folder}")

    def _candles(self, symbol: str, timeframe: Timeframe, start: datetime, end: datetime) -> pl.DataFrame:
        path, held = self._made_of(symbol, timeframe)
        whole = floor_time(start + bar_length(timeframe) - timedelta(microseconds=1), bar_length(timeframe))
        since = start if held == timeframe else whole  # a bar that opens before the start is not asked for
        rows = self._scan(path, CANDLE_COLUMNS, held, FURTHER_COLUMNS).filter(_within(since, end - bar_length(held)))
        frame = (
            _collect(rows, path)
            .with_columns(
                symbol=pl.lit(symbol),
                minutes=pl.lit(MINUTES[held], pl.Int32),
                origin=pl.lit(self.name),
                flag=pl.lit(None, pl.String),
            )
            .select(CANDLE_SCHEMA.names())
        )
        _require_sound(frame, path, held)
        flagged = checks.flag_single_price(frame)
        return flagged if held == timeframe else aggregate(flagged, timeframe, end)

    def _funding(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        path = self._beside(symbol, "funding")
        if path is None:
            return base.no_funding()
        rows = (
            self._scan(path, FUNDING_COLUMNS, None).with_columns(funding_time(pl.col("ts"))).filter(_within(start, end))
        )
        frame = _collect(rows, path).with_columns(symbol=pl.lit(symbol)).select(FUNDING_SCHEMA.names())
        possible = (pl.col("rate").abs() <= MOST_FUNDING).fill_null(value=False)
        detail = f"rate {{}}; give a fraction of notional, at most {MOST_FUNDING} either way"
        _require(frame.filter(~possible), path, detail, pl.col("rate").cast(pl.String).fill_null("null"))
        _require_order(frame, path, "payments")
        usual = frame["rate"].abs().median()
        if isinstance(usual, float) and usual > USUAL_FUNDING:
            self._warn(f"{path}: half of the rates are beyond {usual:.3g}: are they in percent? Give fractions")
        return frame

    def _marks(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        path = self._beside(symbol, "mark")
        if path is None:
            return base.no_marks()
        rows = self._scan(path, MARK_COLUMNS, "1m").filter(_within(start, end - _MINUTE))
        frame = _collect(rows, path).with_columns(symbol=pl.lit(symbol)).select(MARK_SCHEMA.names())
        _require_order(frame, path)
        for check in (checks.positive_prices, checks.ohlc_order):
            _require(check(frame), path, "{}", "detail")
        _require(checks.on_grid(frame, "1m"), path, "{}", "detail")
        return frame

    def _positioning(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        path = self._beside(symbol, "metrics")
        if path is None:
            return base.no_positioning()
        rows = self._scan(path, ("ts",), None, POSITIONING_COLUMNS[1:]).filter(_within(start, end))
        frame = _collect(rows, path).with_columns(symbol=pl.lit(symbol)).select(POSITIONING_SCHEMA.names())
        _require_order(frame, path, "rows")
        for name in POSITIONING_COLUMNS[1:]:
            possible = (pl.col(name).is_finite() & (pl.col(name) >= 0)).fill_null(value=True)
            _require(frame.filter(~possible), path, f"{name} {{}}; give a number from 0 on, or nothing", name)
        return frame

    def _beside(self, symbol: str, what: str) -> Path | None:
        """Return a symbol's optional file; Parquet takes precedence over CSV."""
        paths = [self._folder / f"{symbol}_{what}{suffix}" for suffix in _SUFFIXES]
        return next((path for path in paths if path.is_file()), None)

    def _scan(
        self, path: Path, columns: Sequence[str], timeframe: Timeframe | None, further: Sequence[str] = ()
    ) -> pl.LazyFrame:
        """Return the file's `columns`, `further` ones or nulls: `ts` in UTC, the others as Float64."""
        scanned, schema = _opened(path, columns, further)
        there = [name for name in (*columns, *further) if name in schema and name != "ts"]
        unknown = [pl.lit(None, pl.Float64).alias(name) for name in further if name not in schema]
        times = self._read_times(path, columns, timeframe).read
        return scanned.select(times, *(_number(name, schema, path) for name in there), *unknown)

    def _read_times(self, path: Path, columns: Sequence[str], timeframe: Timeframe | None) -> _Times:
        """Judge the time column of a file of bars, or of payments (no timeframe); again only if the file changed."""
        try:
            found = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        state = (found.st_mtime_ns, found.st_size)
        known = self._times.get(path)
        if known is None or known[0] != state:
            scanned, _ = _opened(path, columns)
            column = _collect(scanned.select("ts"), path)["ts"]
            read = time_of(column, path)
            ts = column.to_frame().select(read)["ts"]
            if timeframe is not None:
                require_spacing(ts, path, MINUTES[timeframe])
            first, last = ts.min(), ts.max()
            times = _Times(
                read, first if isinstance(first, datetime) else None, last if isinstance(last, datetime) else None
            )
            known = self._times[path] = (state, times)
        return known[1]

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)
            _LOG.warning(text)


def _candle_files(folder: Path) -> tuple[dict[str, dict[Timeframe, Path]], list[str]]:
    """Return the candle files of each symbol by timeframe, and the skipped entries with their reasons.

    Parquet takes precedence over CSV if a symbol has both, and `_60m` over `_1h`.

    Raises
    ------
    MarketError
        If the folder does not exist or holds no candle file.
    """
    if not folder.is_dir():
        msg = f"archive folder {folder} does not exist; set BLOFIN_ARCHIVE to a folder of <SYMBOL>_1m.parquet or .csv"
        raise MarketError(msg)
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files: dict[str, dict[Timeframe, Path]] = {}
    for suffix in _SUFFIXES:
        for path in sorted(entries, key=lambda path: path.stem.endswith(tuple(_ALIASES))):
            match = _NAME.fullmatch(path.stem)
            if path.suffix == suffix and match is not None and match["kind"] in _FRAMES and path.is_file():
                files.setdefault(match["symbol"], {}).setdefault(_FRAMES[match["kind"]], path)
    passed_over = list(_passed_over(entries, files))
    if not files:
        shown = f"; skipped: {'; '.join(passed_over[:_SHOWN])}" if passed_over else ""
        msg = (
            f"archive folder {folder} holds no candles; it needs files such as BTC-USDT_1m.parquet or "
            f"BTC-USDT_60m.csv{shown}"
        )
        raise MarketError(msg)
    return files, passed_over


def _passed_over(entries: Sequence[Path], files: Mapping[str, Mapping[Timeframe, Path]]) -> Iterable[str]:
    """Yield each entry of the folder that looks like data and is not read, with the reason."""
    names = {path.name for path in entries if path.is_file()}
    read = {path for of_symbol in files.values() for path in of_symbol.values()}
    for path in entries:
        if _OTHER_FORMS.search(path.name) and path not in read:
            reason = _not_read(path, names) or _not_used(path, names, files)
            if reason:
                yield f"{path.name} ({reason})"


def _not_read(path: Path, names: Collection[str]) -> str | None:
    """Return why the name of a file, or what it is, keeps it from being read."""
    symbol, _, kind = path.stem.rpartition("_")
    if path.name not in names:
        return "a folder" if path.is_dir() else "not a regular file"
    if path.suffix not in _SUFFIXES:
        return "only .csv and .parquet are read, not compressed"
    if _NAME.fullmatch(path.stem):
        return None
    if kind in _KINDS:
        return f"{symbol} is not a symbol such as BTC-USDT"
    return "not named <SYMBOL>_<timeframe>, <SYMBOL>_funding, <SYMBOL>_mark or <SYMBOL>_metrics"


def _not_used(path: Path, names: Collection[str], files: Mapping[str, Mapping[Timeframe, Path]]) -> str | None:
    """Return what is read instead of a file, or is lacking beside it; None if it is used."""
    symbol, _, kind = path.stem.rpartition("_")
    if path.suffix == ".csv" and f"{path.stem}.parquet" in names:
        return f"{path.stem}.parquet is read instead"
    if symbol not in files:
        return f"no candles of {symbol} beside it"
    return f"{files[symbol][_FRAMES[kind]].name} is read instead" if kind in _FRAMES else None


def _opened(path: Path, columns: Sequence[str], further: Sequence[str] = ()) -> tuple[pl.LazyFrame, pl.Schema]:
    """Return a file and its schema; times in CSV are read as text, so that no type is guessed from the first rows."""
    try:
        if path.suffix == ".parquet":
            scanned = pl.scan_parquet(path, glob=False)
        else:
            numbers = {column: pl.Float64() for column in (*columns, *further) if column != "ts"}
            scanned = pl.scan_csv(path, schema_overrides={**numbers, "ts": pl.String()}, glob=False)
        schema = scanned.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error
    absent = [column for column in columns if column not in schema]
    if absent:
        msg = f"{path} lacks the column {', '.join(absent)}; it has: {', '.join(schema.names())}"
        raise MarketError(msg)
    return scanned, schema


def _within(start: datetime, end: datetime) -> pl.Expr:
    """Return the filter of a range; rows without a time are kept, to be refused later."""
    return pl.col("ts").is_between(start, end) | pl.col("ts").is_null()


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


def _require_sound(frame: pl.DataFrame, path: Path, timeframe: Timeframe) -> None:
    """Raise `MarketError` for the first row that cannot be real."""
    _require_order(frame, path)
    for check in (checks.positive_prices, checks.ohlc_order, checks.sound_volumes):
        _require(check(frame), path, "{}", "detail")
    _require(checks.on_grid(frame, timeframe), path, "{}", "detail")


def _require_order(frame: pl.DataFrame, path: Path, rows: str = "bars") -> None:
    _require(frame.filter(pl.col("ts").is_null()), path, "a row without ts{}", pl.lit(""))
    _require(checks.duplicates(frame, rows), path, "{}", "detail")
    _require(checks.time_order(frame), path, "out of order: {}", "detail")


def _require(wrong: pl.DataFrame, path: Path, text: str, value: str | pl.Expr) -> None:
    if wrong.is_empty():
        return
    ts, detail = wrong.head(1).select("ts", pl.format(text, value)).row(0)
    more = f" (and {len(wrong) - 1} more rows)" if len(wrong) > 1 else ""
    at = "" if ts is None else f" at {base.iso(ts)}"
    msg = f"{path}{at}: {detail}{more}; correct the file or remove the row"
    raise MarketError(msg)
