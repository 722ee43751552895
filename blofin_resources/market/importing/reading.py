"""Reading one file into the columns of an archive, and checking its rows.

Belongs here: the forms of files, columns, judging rows. Does not belong here: which file is what (`recognition`),
joining files (`joining`).
"""

import gzip
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from blofin_resources.errors import MarketError
from blofin_resources.market import checks
from blofin_resources.market.archive import (
    CANDLE_COLUMNS,
    FUNDING_COLUMNS,
    FURTHER_COLUMNS,
    MARK_COLUMNS,
    USUAL_FUNDING,
)
from blofin_resources.market.importing.recognition import Kind, PlainFormat, Source
from blofin_resources.market.times import require_spacing, time_of
from features import bars
from features.bars import MOST_FUNDING, funding_time

COLUMNS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "candles": CANDLE_COLUMNS,
    "mark": MARK_COLUMNS,
    "funding": FUNDING_COLUMNS,
    "metrics": (
        "ts", "open_interest", "open_interest_value", "top_accounts_ratio", "top_positions_ratio", "accounts_ratio",
        "taker_ratio",
    ),
}  # fmt: skip
"""Columns of each kind of file. Positioning data may lack some of them; ratios are longs over shorts."""

NAMES: Final = tuple(dict.fromkeys(name for columns in COLUMNS.values() for name in (*columns, *FURTHER_COLUMNS)))
"""Every column that a file of an archive may have."""

MINUTES: Final[Mapping[str, int]] = {
    **{str(name): length for name, length in bars.MINUTES.items()},
    "15m": 15,
    "4h": 240,
}
"""Length of a bar, of the timeframes that an archive may hold."""

_KLINES: Final = (
    "ts", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count", "taker_buy_volume",
    "taker_buy_quote_volume", "ignore",
)  # fmt: skip
_ZIP_COLUMNS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "candles": _KLINES,
    "mark": _KLINES,
    "funding": ("ts", "interval", "rate"),
    "metrics": ("ts", "symbol", *COLUMNS["metrics"][1:]),
}
"""In the order of Binance's files, with or without header."""

_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "ts": ("date", "time", "timestamp", "datetime", "open_time", "calc_time", "create_time"),
    "rate": ("funding_rate", "fundingRate", "last_funding_rate", "open"),
    "volume": ("vol", "base_volume"),
    "quote_volume": ("quote_asset_volume", "turnover"),
}
"""Column names of other programs; freqtrade stores a funding rate as the open of a candle."""


def read_source(source: Source, plain: PlainFormat | None = None) -> pl.DataFrame:
    """Return the rows of a file: `ts` in UTC, then the columns of its kind as Float64, sorted, each time once.

    Raises
    ------
    MarketError
        If the file cannot be read, lacks a column, or holds a row that no market makes; with file, row and value.
    """
    plain = plain or PlainFormat()
    raw = _named(_raw(source), source, plain)
    read = raw.with_columns(time_of(raw["ts"], source.path))
    numbers = [name for name in read.columns if name != "ts"]
    frame = read.with_columns(_number(read, name, source) for name in numbers)
    if source.target.kind == "funding":
        scale = 100.0 if plain.percent else 1.0
        frame = frame.with_columns(funding_time(pl.col("ts")), pl.col("rate") / scale)
    _judge(frame.with_row_index("row", offset=1), source)
    return frame.unique("ts", keep="first").sort("ts")


def _raw(source: Source) -> pl.DataFrame:
    try:
        return _readers(source)
    except (pl.exceptions.PolarsError, OSError, ValueError, TypeError, zipfile.BadZipFile, EOFError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        msg = f"{source.path} cannot be read as {source.form}: {reason[:200]}; replace the file or remove it"
        raise MarketError(msg) from error


def _readers(source: Source) -> pl.DataFrame:
    if source.form == "feather":
        return pl.read_ipc(source.path)
    if source.form == "parquet":
        return pl.read_parquet(source.path, glob=False)
    if source.form == "json":
        packed = source.path.read_bytes()
        rows = json.loads(gzip.decompress(packed) if source.path.suffix == ".gz" else packed)
        return pl.DataFrame(rows, schema=list(CANDLE_COLUMNS), orient="row", infer_schema_length=None)
    if source.form == "zip":
        return _zipped(source)
    return pl.read_csv(source.path, infer_schema=False, glob=False)


def _zipped(source: Source) -> pl.DataFrame:
    with zipfile.ZipFile(source.path) as archive:
        inside = [name for name in archive.namelist() if name.endswith(".csv")]
        if len(inside) != 1:
            msg = f"it holds {', '.join(archive.namelist()) or 'nothing'}, not one .csv file"
            raise ValueError(msg)
        text = archive.read(inside[0])
    names = _ZIP_COLUMNS[source.target.kind]
    frame = pl.read_csv(io.BytesIO(text), has_header=not text[:1].isdigit(), infer_schema=False)
    if frame.width < len(names):
        msg = f"{inside[0]} has {frame.width} columns, not {len(names)}"
        raise ValueError(msg)
    return frame.rename(dict(zip(frame.columns, names, strict=False)))


def _named(frame: pl.DataFrame, source: Source, plain: PlainFormat) -> pl.DataFrame:
    """Select the columns of the kind and rename them to those of an archive."""
    kind = source.target.kind
    wanted = known_columns(kind)
    there: dict[str, str] = {}
    for name in wanted:
        ways = (plain.names[name],) if name in plain.names else (name, *_ALIASES.get(name, ()))
        column = next((way for way in ways if way in frame.columns), None)
        if column is not None:
            there[name] = column
    needed = ("ts",) if kind == "metrics" else COLUMNS[kind]
    absent = [name for name in needed if name not in there]
    if absent or len(there) == 1:
        msg = (
            f"{source.path} lacks {', '.join(absent) or 'every column of positioning'}; it has "
            f"{', '.join(frame.columns)}; say which is which: --columns {absent[0] if absent else 'open_interest'}=NAME"
        )
        raise MarketError(msg)
    return frame.select(pl.col(column).alias(name) for name, column in there.items())


def _number(frame: pl.DataFrame, name: str, source: Source) -> pl.Expr:
    """Convert a column to Float64, empty text to null; refuse text that is not a number."""
    column = frame[name]
    if column.dtype == pl.String:
        column = column.str.strip_chars().replace("", None)
    try:
        number = column.cast(pl.Float64, strict=False)
    except pl.exceptions.PolarsError as error:
        msg = f"{source.path} has {name} as {column.dtype}; write it as a number"
        raise MarketError(msg) from error
    wrong = number.is_null() & column.is_not_null()
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        msg = f"{source.path}: row {row + 1} has {name} {column[row]!r}, which is not a number; correct it"
        raise MarketError(msg)
    return pl.lit(number).alias(name)


def _judge(rows: pl.DataFrame, source: Source) -> None:
    """Raise `MarketError` for the first row that no market makes."""
    path, kind = source.path, source.target.kind
    nowhere = rows.filter(pl.col("ts").is_null())
    if nowhere.height:
        msg = f"{path}: row {nowhere['row'][0]} has no time; add it or remove the row"
        raise MarketError(msg)
    twice = rows.filter(pl.col("ts").is_duplicated()).sort("ts", "row")
    values = [name for name in rows.columns if name not in ("row", "ts")]
    if twice.height and twice.select("ts", *values).unique().select(pl.col("ts").is_duplicated().any()).item():
        ts = next(
            part["ts"][0]
            for part in twice.partition_by("ts", maintain_order=True)
            if part.select(values).n_unique() > 1
        )
        here = twice.filter(pl.col("ts") == ts)
        _refuse(path, here["row"][1], ts, f"same time as row {here['row'][0]}, other values: {here.row(1)[2:]}")
    if kind == "funding":
        _judge_funding(rows, source)
    elif kind != "metrics":
        _judge_bars(rows, source)


def _judge_bars(rows: pl.DataFrame, source: Source) -> None:
    timeframe, minutes = source.target.timeframe, MINUTES[source.target.timeframe]
    candles = rows.with_columns(
        symbol=pl.lit(source.target.symbol),
        **{name: pl.lit(None, pl.Float64) for name in checks.VOLUMES if name not in rows.columns},
    )
    for check in (checks.positive_prices, checks.ohlc_order, checks.sound_volumes):
        _require(check(candles), rows, source)
    off = rows.filter(pl.col("ts") != pl.col("ts").dt.truncate(f"{minutes}m"))
    if off.height:
        _refuse(source.path, off["row"][0], off["ts"][0], f"not on the grid of {timeframe} bars")
    require_spacing(rows["ts"].sort(), source.path, minutes)


def _judge_funding(rows: pl.DataFrame, source: Source) -> None:
    possible = (pl.col("rate").abs() <= MOST_FUNDING).fill_null(value=False)
    wrong = rows.filter(~possible)
    if wrong.height:
        detail = f"a rate of {wrong['rate'][0]}: give fractions of the notional, at most {MOST_FUNDING}, or --percent"
        _refuse(source.path, wrong["row"][0], wrong["ts"][0], detail)
    usual = rows["rate"].abs().median()
    if isinstance(usual, float) and usual > USUAL_FUNDING:
        row = rows.filter(pl.col("rate").abs() >= usual).row(0, named=True)
        detail = f"a rate of {row['rate']}, and half of all are beyond {usual:.3g}: are they in percent? give --percent"
        _refuse(source.path, row["row"], row["ts"], detail)


def _require(wrong: pl.DataFrame, rows: pl.DataFrame, source: Source) -> None:
    if wrong.height:
        ts = wrong["ts"][0]
        row = rows.filter(pl.col("ts") == ts)["row"][0]
        _refuse(source.path, row, ts, wrong["detail"][0])


def _refuse(path: object, row: int, ts: Any, detail: str) -> None:
    msg = f"{path}: row {row}, {ts:%Y-%m-%dT%H:%M:%SZ}: {detail}; correct or remove the row"
    raise MarketError(msg)


def known_columns(kind: Kind) -> tuple[str, ...]:
    """Return the columns that a file of this kind may have, in order."""
    return (*COLUMNS[kind], *(FURTHER_COLUMNS if kind == "candles" else ()))
