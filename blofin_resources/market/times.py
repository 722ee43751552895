"""Read the timestamps of a file in whatever form they are written, or refuse them by row and value.

Belongs here: numbers since 1970 and their unit, ISO 8601 text, what cannot be a market time. Does not belong here:
other columns (`archive`), whether the rows are in order (`checks`).
"""

from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from blofin_resources.errors import MarketError
from features.bars import TS

EARLIEST: Final = datetime(2009, 1, 3, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""No market that is meant here has a time outside these; between them, a number's size tells its unit."""

UNITS: Final = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}
"""Units that a number of time since 1970 may have, and how many of each are a second."""

FEW: Final = 10
"""With fewer distances between rows than this in a day or month, nothing is said about how far apart rows are."""

_UNIT_OF: Final = {"ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_MICROS: Final = UNITS["microseconds"]
_WHOLE: Final = 2.0**53
_NUMBER: Final = r"^\s*-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?\s*$"
_ISO: Final = (
    r"^\s*(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2}(?:\.\d{1,9})?))?\s?(?:Z|([+-])(\d{2}):?(\d{2}))?)?\s*$"
)
_PLAIN: Final = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(Z|\+00:?00)?$"
_WAYS: Final = "write times as ISO 8601 text such as 2025-01-31T00:05:00Z, or as one unit of time since 1970"


def time_of(column: pl.Series, where: object) -> pl.Expr:
    """Return the expression that reads column `ts` of a file as `features.bars.TS`, null where it is null.

    Integers, whole floats and texts of such numbers are seconds, milliseconds, microseconds or nanoseconds since 1970,
    whichever puts all of them between `EARLIEST` and `LATEST`. Other text is ISO 8601; it and datetimes are UTC where
    they name no zone.

    Parameters
    ----------
    column : Series
        The whole column; the unit is inferred from it.
    where : object
        The file, as messages name it.

    Returns
    -------
    Expr
        Reads `ts` as UTC.

    Raises
    ------
    MarketError
        For the first row without such a time, and for a column of mixed units or forms.

    Examples
    --------
    >>> frame = pl.DataFrame({"ts": ["1735689600"]})
    >>> frame.select(time_of(frame["ts"], "BTC-USDT_1m.csv"))["ts"].item().isoformat()
    '2025-01-01T00:00:00+00:00'
    """
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        unit = _UNIT_OF[dtype.time_unit]
        _require_market_time(column, column.to_physical(), unit, where)
        return _since_1970(pl.col("ts").to_physical(), unit)
    if dtype == pl.String:
        return _text(column, where)
    if dtype.is_integer() or dtype.is_float():
        return _since_1970(_number(dtype), _unit(column, where))
    if dtype == pl.Null:
        return pl.col("ts").cast(TS)
    msg = f"{where} has ts as {dtype}; {_WAYS}"
    raise MarketError(msg)


def require_spacing(ts: pl.Series, where: object, minutes: int = 1) -> None:
    """Refuse a file whose rows are longer bars than they should be.

    In a day or month, rows may be sparse, because not every bar has a trade; still the most frequent distance between
    rows is one bar. Days and months with fewer than `FEW` distances are not judged.

    Parameters
    ----------
    ts : Series
        Times of the rows, in order.
    where : object
        The file, as messages name it.
    minutes : int, optional
        Length of a bar.

    Raises
    ------
    MarketError
        If most rows of a day or month are the same distance apart, and that is more than one bar.
    """
    for period, form in (("1mo", "%Y-%m"), ("1d", "%Y-%m-%d")):
        _require_spacing_of(ts, where, minutes, period, form)


def _require_spacing_of(ts: pl.Series, where: object, minutes: int, period: str, form: str) -> None:
    apart = pl.col("ts").diff()
    counted = (
        ts.rename("ts")
        .to_frame()
        .select("ts", apart=apart)
        .filter(pl.col("apart") > timedelta())
        .group_by("apart", period=pl.col("ts").dt.truncate(period))
        .agg(rows=pl.len(), first=pl.col("ts").min())
        .with_columns(all=pl.col("rows").sum().over("period"))
        .filter(
            pl.col("all") >= FEW,
            pl.col("rows") * 2 > pl.col("all"),
            pl.col("apart").dt.total_minutes() > minutes,
        )
        .sort("period")
    )
    if counted.is_empty():
        return
    row = counted.row(0, named=True)
    found = row["apart"] / timedelta(minutes=1)
    msg = (
        f"{where}: {row['rows']} of the {row['all']} rows of {row['period']:{form}} are {found:g} minutes after the "
        f"row before, the first at {row['first']:%Y-%m-%dT%H:%MZ}: not {minutes}-minute bars; replace the file"
    )
    raise MarketError(msg)


def _text(column: pl.Series, where: object) -> pl.Expr:
    """Return the expression that reads a text column of either numbers or ISO 8601 times."""
    numeric = column.str.contains(_NUMBER)
    if numeric.all():
        return _since_1970(_number(column.dtype), _unit(column, where))
    read = _plain_utc(pl.col("ts")) if column.str.contains(_PLAIN).all() else _iso(pl.col("ts"))
    made = column.rename("ts").to_frame().select(read)["ts"]
    _require(made.is_null() & column.is_not_null(), column, where, _WAYS)
    _require_market_time(column, made.to_physical(), "microseconds", where)
    return read


def _plain_utc(text: pl.Expr) -> pl.Expr:
    """Parse texts without fraction or other zone, ten times as fast as `_iso`."""
    clock = text.str.slice(0, 19).str.replace("T", " ", literal=True)
    return clock.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", time_zone="UTC", strict=False)


def _iso(text: pl.Expr) -> pl.Expr:
    part = text.str.extract_groups(_ISO).struct
    clock = pl.concat_str(
        part[0], pl.lit("T"), part[1].fill_null("00:00"), pl.lit(":"), part[2].fill_null("00")
    ).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    ahead = pl.duration(hours=part[4].cast(pl.Int64), minutes=part[5].cast(pl.Int64))
    zone = pl.when(part[3] == "-").then(-ahead).when(part[3] == "+").then(ahead).otherwise(pl.duration())
    return (clock - zone).dt.replace_time_zone("UTC").alias("ts")


def _number(dtype: pl.DataType) -> pl.Expr:
    """Return whole numbers as Int64; null for text, NaN, a fraction, or a number that Float64 does not hold exactly."""
    column = pl.col("ts")
    if dtype.is_integer():
        return column.cast(pl.Int64, strict=False)
    decimal = column.cast(pl.Float64, strict=False)
    exact = pl.when((decimal == decimal.floor()) & (decimal.abs() <= _WHOLE)).then(decimal).cast(pl.Int64)
    return exact if dtype.is_float() else pl.coalesce(column.cast(pl.Int64, strict=False), exact)


def _unit(column: pl.Series, where: object) -> str:
    """Infer the unit of a column of numbers from their size."""
    numbers = column.rename("ts").to_frame().select(_number(column.dtype))["ts"]
    given = column.fill_nan(None) if column.dtype.is_float() else column
    _require(numbers.is_null() & given.is_not_null(), column, where, _WAYS)
    if numbers.null_count() == len(numbers):
        return "milliseconds"
    units = {int(edge): _unit_of(int(edge)) for edge in (numbers.min(), numbers.max())}  # type: ignore[arg-type]
    for edge, unit in units.items():
        if unit is None:
            _require(numbers == edge, column, where, f"not a plausible market time in any unit; {_WAYS}")
    low, *further = units.items()
    for edge, unit in further:
        if unit != low[1]:
            here, there = (int((numbers == value).arg_max() or 0) for value in (low[0], edge))
            msg = (
                f"{where} mixes units: row {here + 1} has ts {column[here]} ({low[1]}), row {there + 1} has ts "
                f"{column[there]} ({unit}); {_WAYS}"
            )
            raise MarketError(msg)
    return str(low[1])


def _unit_of(number: int) -> str | None:
    first, last = EARLIEST.timestamp(), LATEST.timestamp()
    return next((unit for unit, per in UNITS.items() if first * per <= number <= last * per), None)


def _since_1970(number: pl.Expr, unit: str) -> pl.Expr:
    per = UNITS[unit]
    micros = number // (per // _MICROS) if per > _MICROS else number * (_MICROS // per)
    return micros.cast(TS).alias("ts")


def _require_market_time(column: pl.Series, numbers: pl.Series, unit: str, where: object) -> None:
    first, last = (int(edge.timestamp()) * UNITS[unit] for edge in (EARLIEST, LATEST))
    outside = ~numbers.is_between(first, last)
    if outside.any():
        row = int(outside.fill_null(value=False).arg_max() or 0)
        value = column[row] if column.dtype == pl.String else _shown(numbers[row], unit)
        msg = f"{where}: row {row + 1} has ts {value!r}, which is not a plausible market time (another unit?); {_WAYS}"
        raise MarketError(msg)


def _require(wrong: pl.Series, column: pl.Series, where: object, way_out: str) -> None:
    """Raise `MarketError` for the first row that is `wrong`; null passes."""
    if not wrong.any():
        return
    row = int(wrong.fill_null(value=False).arg_max() or 0)
    more = int(wrong.sum()) - 1
    further = f" (and {more} more rows)" if more else ""
    msg = f"{where}: row {row + 1} has ts {column[row]!r}{further}; {way_out}"
    raise MarketError(msg)


def _shown(number: int, unit: str) -> str:
    """Return a number since 1970 as a date, or as a number if it is outside the calendar."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number / UNITS[unit])
    except OverflowError:
        return f"{number} {unit}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}"
