"""The bars of one lane as checked arrays, ready for the kernel.

Belongs here: turning candle and funding frames of one symbol and timeframe into arrays, refusing what cannot be
traded on, and working out once what every lane over these bars needs (fillable bars, gaps, rows of funding, rows of
full hours). Does not belong here: signals (`backtester.signals`), results (`backtester.lanes`).
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from backtester import kernel
from backtester.kernel import ADJACENT, FILLABLE, FUNDING_KNOWN
from features.bars import MINUTES, Timeframe

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US
DEFAULT_FUNDING_PERIOD_US: Final = 8 * HOUR_US
PRICES: Final = ("open", "high", "low", "close")
MARKS: Final = ("open", "high", "low")
"""Mark prices that decide a liquidation."""


class BarError(ValueError):
    """Candles or funding that no backtest can use; the message names the row and the value."""


def to_micros(moment: datetime) -> int:
    """Return a UTC time as microseconds since 1970.

    Raises
    ------
    ValueError
        If `moment` has no time zone.
    """
    if moment.tzinfo is None:
        msg = f"{moment!r} has no time zone; give a UTC time such as 2025-06-12T00:00:00Z"
        raise ValueError(msg)
    whole = moment.astimezone(UTC)
    return (int(whole.replace(microsecond=0).timestamp()) * 1_000_000) + whole.microsecond


@lru_cache(maxsize=1024)
def from_micros(micros: int) -> datetime:
    """Return microseconds since 1970 as a UTC time."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=int(micros % 1_000_000))


def micros_of(column: pl.Series) -> Longs:
    """Return a column of times as int64 microseconds since 1970."""
    # casts alone: what goes by way of an expression costs a query, which a short column is not worth
    return np.ascontiguousarray(column.cast(pl.Datetime("us")).cast(pl.Int64).to_numpy(), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Minutes:
    """1-minute bars that settle the order of events inside longer bars; arrays of shape (n_minutes,)."""

    ts: Longs
    open: Floats
    high: Floats
    low: Floats
    sound: Bytes

    @classmethod
    def from_frame(cls, candles: pl.DataFrame) -> Self:
        """Check and convert 1-minute candles of one symbol."""
        ts, prices, sound = _checked(candles, "1m")
        return cls(ts, prices[0], prices[1], prices[2], sound.astype(np.uint8))


@dataclass(frozen=True, eq=False)
class Bars:
    """Bars of one symbol and timeframe over one window.

    Parameters
    ----------
    symbol, timeframe : str
        What the bars are of.
    ts : ndarray of shape (n_bars,), int64
        Opening times, microseconds since 1970, ascending; a missing bar is a missing row.
    open, high, low, close : ndarray of shape (n_bars,), float64
        Prices in quote currency.
    quote_volume : ndarray of shape (n_bars,), float64
        Traded value in quote currency, NaN where unknown.
    state : ndarray of shape (n_bars,), uint8
        Bits: fillable (not flagged), adjacent (the bar before it is there), funding known.
    funding_row, funding_ts, funding_rate : ndarray of shape (n_payments,)
        Payments inside the window: the first row that opens at or after each, its time and its rate.
    start, end : int
        The window, microseconds since 1970; the full hours of pooled equity lie in it.
    hour_row : ndarray of shape (n_hours,), int64
        For each full hour of the window, the last row closed by then, -1 where there is none yet.
    minutes : Minutes, optional
        1-minute bars of the same symbol that settle the order of events inside these bars.
    mark : tuple of three ndarray, optional
        Open, high and low of mark-price candles on the same rows; liquidation then goes by them.
    mark_gaps : int
        Fillable bars without mark prices, on which `mark` repeats the bar's own.
    """

    symbol: str
    timeframe: Timeframe
    ts: Longs
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    quote_volume: Floats
    state: Bytes
    funding_row: Longs
    funding_ts: Longs
    funding_rate: Floats
    start: int
    end: int
    hour_row: Longs
    minutes: Minutes | None = None
    mark: tuple[Floats, Floats, Floats] | None = None
    mark_gaps: int = 0

    @property
    def liquidation_price(self) -> str:
        """What liquidations go by: `mark`, `last`, or `mixed` where some bars have no mark prices."""
        return "last" if self.mark is None else "mixed" if self.mark_gaps else "mark"

    @property
    def step(self) -> int:
        """Length of a bar in microseconds."""
        return MINUTES[self.timeframe] * MINUTE_US

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def hours(self) -> Longs:
        """Full hours of the window, microseconds since 1970."""
        return full_hours(self.start, self.end)

    @cached_property
    def packed(self) -> Longs:
        """Its part of a row of the kernel's lane table; the rest is 0. Valid as long as these bars exist."""
        row = np.zeros(kernel.LANE_COLUMNS, dtype=np.int64)
        row[kernel.N], row[kernel.STEP] = len(self), self.step
        for column, array in (
            (kernel.OPEN, self.open),
            (kernel.HIGH, self.high),
            (kernel.LOW, self.low),
            (kernel.CLOSE, self.close),
            (kernel.STATE, self.state),
            (kernel.TS, self.ts),
            (kernel.FUND_ROW, self.funding_row),
            (kernel.FUND_RATE, self.funding_rate),
            (kernel.FUND_TS, self.funding_ts),
            (kernel.HOUR_ROW, self.hour_row),
        ):
            row[column] = address(array)
        row[kernel.FUND_N], row[kernel.HOUR_N] = len(self.funding_row), len(self.hour_row)
        if self.mark is not None:
            row[[kernel.MARK_OPEN, kernel.MARK_HIGH, kernel.MARK_LOW]] = [address(array) for array in self.mark]
        finer = self.minutes
        if finer is not None and self.timeframe != "1m":
            row[kernel.MINUTE_N] = len(finer.ts)
            row[kernel.MINUTE_TS], row[kernel.MINUTE_OK] = address(finer.ts), address(finer.sound)
            row[kernel.MINUTE_OPEN] = address(finer.open)
            row[kernel.MINUTE_HIGH], row[kernel.MINUTE_LOW] = address(finer.high), address(finer.low)
        return row

    def with_minutes(self, candles: pl.DataFrame) -> Self:
        """Return the same bars with 1-minute candles that settle the order of events inside each."""
        return replace(self, minutes=Minutes.from_frame(candles))

    @classmethod
    def from_frame(
        cls,
        candles: pl.DataFrame,
        timeframe: Timeframe,
        *,
        funding: pl.DataFrame | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        symbol: str | None = None,
        mark: pl.DataFrame | None = None,
    ) -> Self:
        """Check candles of one symbol and make them ready for any number of lanes.

        Parameters
        ----------
        candles : DataFrame
            `features.bars.CANDLE_SCHEMA` or more, one symbol, sorted by `ts`. `flag`, `quote_volume`, `volume` and
            `symbol` may be absent. Flagged bars mark a position but are never traded on.
        timeframe : {'1m', '5m', '60m', '1d'}
            Length of the bars.
        funding : DataFrame, optional
            `features.bars.FUNDING_SCHEMA`, same symbol, sorted by `ts`; it may reach beyond the window, which tells
            how far funding is known. Payments outside the window are not charged.
        start, end : datetime, optional
            The window; by default from the first bar's open to the last one's close. Bars must lie inside it.
        symbol : str, optional
            Name of the symbol where the frame has no rows or no such column.
        mark : DataFrame, optional
            Mark-price candles (`ts`, `open`, `high`, `low`), the same rows as `candles`.

        Raises
        ------
        BarError
            If a price is null, not finite, not positive or outside its bar's range; if times are unsorted, doubled or
            off the grid; if a funding rate is not finite; if several symbols are mixed; if a bar is outside the
            window. The message names the row and the value.
        """
        name = _only_symbol(candles, symbol)
        ts, prices, sound = _checked(candles, timeframe, name)
        step = MINUTES[timeframe] * MINUTE_US
        first = to_micros(start) if start is not None else (int(ts[0]) if len(ts) else 0)
        last = to_micros(end) if end is not None else (int(ts[-1]) + step if len(ts) else first)
        _inside_window(ts, (first, last), name, timeframe)
        paid_ts, rates = _checked_funding(funding, name)
        state = np.where(sound, FILLABLE, 0).astype(np.uint8)
        state[1:] |= np.where(np.diff(ts) == step, ADJACENT, 0).astype(np.uint8)
        state |= np.where(_funding_known(ts, paid_ts), FUNDING_KNOWN, 0).astype(np.uint8)
        due = (paid_ts > (ts[0] if len(ts) else first)) & (paid_ts < last)
        return cls(
            symbol=name,
            timeframe=timeframe,
            ts=ts,
            open=prices[0],
            high=prices[1],
            low=prices[2],
            close=prices[3],
            quote_volume=_traded_value(candles, prices[3]),
            state=state,
            funding_row=np.ascontiguousarray(np.searchsorted(ts, paid_ts[due], side="left"), dtype=np.int64),
            funding_ts=np.ascontiguousarray(paid_ts[due]),
            funding_rate=np.ascontiguousarray(rates[due]),
            start=first,
            end=last,
            hour_row=hour_rows(ts, step, first, last),
            mark=None if mark is None else _checked_mark(mark, ts, name, timeframe),
        )


def address(array: npt.NDArray[np.generic]) -> int:
    """Return where a contiguous array lies; whoever uses it keeps the array."""
    return int(array.__array_interface__["data"][0])


def full_hours(start: int, end: int) -> Longs:
    """Return the full hours in [start, end], microseconds since 1970, shape (n_hours,)."""
    return np.arange(-(-start // HOUR_US) * HOUR_US, end + 1, HOUR_US, dtype=np.int64)


def hour_rows(ts: Longs, step: int, start: int, end: int) -> Longs:
    """Return for each full hour of the window the last row closed by then, -1 where there is none yet."""
    return np.ascontiguousarray(np.searchsorted(ts + step, full_hours(start, end), side="right") - 1, dtype=np.int64)


def _only_symbol(candles: pl.DataFrame, symbol: str | None) -> str:
    if "symbol" not in candles.columns or candles.is_empty():
        return symbol or ""
    names = candles["symbol"].unique().to_list()
    if len(names) > 1:
        msg = f"candles of {len(names)} symbols ({', '.join(sorted(names)[:5])}) in one lane; give one symbol's rows"
        raise BarError(msg)
    if symbol is not None and names[0] != symbol:
        msg = f"candles are of {names[0]}, not of {symbol}"
        raise BarError(msg)
    return str(names[0])


def _refuse(candles: pl.DataFrame, where: str, row: int, what: str, value: Any) -> BarError:
    return BarError(f"{where}: row {row} ({candles['ts'][row]}) has {what} {value}")


def _checked(
    candles: pl.DataFrame, timeframe: Timeframe, symbol: str | None = None
) -> tuple[Longs, tuple[Floats, Floats, Floats, Floats], npt.NDArray[np.bool_]]:
    """Return times, prices and which bars are sound; raise `BarError` at the first bad row."""
    where = f"{symbol or 'candles'} {timeframe}"
    missing = [name for name in ("ts", *PRICES) if name not in candles.columns]
    if missing:
        msg = f"{where}: no column {', '.join(missing)}; a candle frame has ts, open, high, low, close"
        raise BarError(msg)
    if candles["ts"].null_count():
        row = int(candles["ts"].is_null().arg_max() or 0)
        msg = f"{where}: row {row} has no time"
        raise BarError(msg)
    ts = micros_of(candles["ts"])
    step = MINUTES[timeframe] * MINUTE_US
    gaps = np.diff(ts)
    if (gaps <= 0).any():
        row = int(np.argmax(gaps <= 0)) + 1
        what = "the time of the row before it again:" if gaps[row - 1] == 0 else "a time before the row above it:"
        raise _refuse(candles, where, row, what, candles["ts"][row])
    if (gaps % step != 0).any():
        row = int(np.argmax(gaps % step != 0)) + 1
        raise _refuse(candles, where, row, f"a time that is no multiple of {timeframe} after the row above it:",
                      candles["ts"][row])  # fmt: skip
    sound = candles["flag"].is_null().to_numpy() if "flag" in candles.columns else np.ones(len(ts), dtype=np.bool_)
    columns = [np.ascontiguousarray(candles[name].cast(pl.Float64).to_numpy(), dtype=np.float64) for name in PRICES]
    for name, column in zip(PRICES, columns, strict=True):
        bad = ~((column > 0.0) & (column < np.inf))
        if bad.any():
            row = int(np.argmax(bad))
            raise _refuse(candles, where, row, name, candles[name][row])
    opens, highs, lows, closes = columns
    for name, column, bad in (
        ("high", highs, (highs < np.maximum(opens, closes)) & sound),
        ("low", lows, (lows > np.minimum(opens, closes)) & sound),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            beyond = f"{name} {column[row]}, which does not hold its open {opens[row]} and close"
            raise _refuse(candles, where, row, beyond, closes[row])
    return ts, (opens, highs, lows, closes), sound


def _inside_window(ts: Longs, window: tuple[int, int], symbol: str, timeframe: Timeframe) -> None:
    (first, last), step = window, MINUTES[timeframe] * MINUTE_US
    if len(ts) and (ts[0] < first or ts[-1] + step > last):
        row = 0 if ts[0] < first else len(ts) - 1
        msg = (
            f"{symbol} {timeframe}: row {row} ({from_micros(int(ts[row]))}) is outside the window "
            f"{from_micros(first)} to {from_micros(last)}"
        )
        raise BarError(msg)


def _traded_value(candles: pl.DataFrame, close: Floats) -> Floats:
    unknown = np.full(len(close), np.nan)
    value, volume = (
        candles[name].cast(pl.Float64).fill_null(np.nan).to_numpy() if name in candles.columns else unknown
        for name in ("quote_volume", "volume")
    )
    return np.where(np.isnan(value), volume * close, value)


def _checked_funding(funding: pl.DataFrame | None, symbol: str) -> tuple[Longs, Floats]:
    if funding is None or funding.is_empty():
        return np.empty(0, dtype=np.int64), np.empty(0)
    if "symbol" in funding.columns and symbol:
        funding = funding.filter(pl.col("symbol") == symbol)
    ts = micros_of(funding["ts"])
    rates = np.ascontiguousarray(funding["rate"].cast(pl.Float64).to_numpy(), dtype=np.float64)
    unsorted = np.diff(ts) <= 0
    if unsorted.any():
        row = int(np.argmax(unsorted)) + 1
        msg = f"{symbol} funding: row {row} has a time at or before the row above it: {funding['ts'][row]}"
        raise BarError(msg)
    bad = ~(np.abs(rates) < 1.0)
    if bad.any():
        row = int(np.argmax(bad))
        msg = f"{symbol} funding: row {row} ({funding['ts'][row]}) has rate {funding['rate'][row]}; it is a fraction"
        raise BarError(msg)
    return ts, rates


def _funding_known(ts: Longs, paid: Longs) -> npt.NDArray[np.bool_]:
    """Return for each bar whether the payments around it are all there.

    A stretch between two payments counts as known if it is not longer than one and a half of the usual period, as
    does one period before the first and after the last.
    """
    if not len(paid):
        return np.zeros(len(ts), dtype=np.bool_)
    period = int(np.median(np.diff(paid))) if len(paid) > 1 else DEFAULT_FUNDING_PERIOD_US
    edges = np.concatenate([[paid[0] - period], paid, [paid[-1] + period]])
    after = np.searchsorted(edges, ts, side="right")
    within = (after > 0) & (after < len(edges))
    span = np.diff(edges)[np.clip(after - 1, 0, len(edges) - 2)]
    known: npt.NDArray[np.bool_] = within & (span <= period + period // 2)
    return known


def _checked_mark(mark: pl.DataFrame, ts: Longs, symbol: str, timeframe: Timeframe) -> tuple[Floats, Floats, Floats]:
    times = micros_of(mark["ts"])
    if len(times) != len(ts) or (times != ts).any():
        msg = f"{symbol} {timeframe}: mark-price candles have {len(times)} rows on other times than the {len(ts)} bars"
        raise BarError(msg)
    columns = []
    for name in MARKS:
        column = np.ascontiguousarray(mark[name].cast(pl.Float64).to_numpy(), dtype=np.float64)
        bad = ~((column > 0.0) & (column < np.inf))
        if bad.any():
            row = int(np.argmax(bad))
            raise _refuse(mark, f"{symbol} mark {timeframe}", row, name, mark[name][row])
        columns.append(column)
    return columns[0], columns[1], columns[2]
