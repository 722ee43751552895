"""The bars of one lane as checked arrays, ready for the kernel.

Belongs here: turning candle and funding frames of one symbol and timeframe into arrays, rejecting malformed ones, and
computing once what every lane over these bars needs (fillable bars, gaps, rows of funding, rows of full hours). Does
not belong here: signals (`backtester.simulation.signals`), results (`backtester.simulation.lanes`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Final, NoReturn, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from backtester.simulation import kernel
from backtester.simulation.kernel import ADJACENT, FILLABLE, FUNDING_KNOWN
from features.array_types import ByteArray, FloatArray, IntArray
from features.bars import HOUR_US, MINUTE_US, MINUTES, MOST_FUNDING, Timeframe, funding_time

DEFAULT_FUNDING_PERIOD_US: Final = 8 * HOUR_US
"""Usual time between two funding payments, and the longest interval that counts as one period."""

_NEIGHBOURS: Final = 3
"""Intervals between payments, on either side, from which the usual funding interval is estimated."""

PRICES: Final = ("open", "high", "low", "close")
MARKS: Final = ("open", "high", "low")
"""Mark prices that decide a liquidation."""


class BarError(ValueError):
    """Malformed candles or funding rates; the message names the row and the value."""


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


def micros_of(column: pl.Series) -> IntArray:
    """Return a column of times as int64 microseconds since 1970.

    The result has shape (n_rows,).
    """
    # casts alone: what goes by way of an expression costs a query, which a short column is not worth
    return np.ascontiguousarray(column.cast(pl.Datetime("us")).cast(pl.Int64).to_numpy(), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Minutes:
    """Bars that settle the order of events inside longer ones: minutes, or the finest there are; arrays (n_bars,)."""

    ts: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    sound: ByteArray
    timeframe: Timeframe = "1m"

    @property
    def step(self) -> int:
        """Length of one of these bars in microseconds."""
        return MINUTES[self.timeframe] * MINUTE_US

    @classmethod
    def from_frame(cls, candles: pl.DataFrame, timeframe: Timeframe = "1m") -> Self:
        """Check and convert candles of one symbol."""
        ts, prices, sound = checked_candles(candles, timeframe)
        return cls(ts, prices[0], prices[1], prices[2], sound.astype(np.uint8), timeframe)


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
        1-minute bars of the same symbol, or the finest there are, that settle the order of events inside these bars.
    mark : tuple of three ndarray, optional
        Open, high and low of mark-price candles on the same rows, by which positions are liquidated.
    mark_gaps : int
        Fillable bars without mark prices, on which `mark` repeats the bar's own.
    """

    symbol: str
    timeframe: Timeframe
    ts: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    quote_volume: FloatArray
    state: ByteArray
    funding_row: IntArray
    funding_ts: IntArray
    funding_rate: FloatArray
    start: int
    end: int
    hour_row: IntArray
    minutes: Minutes | None = None
    mark: tuple[FloatArray, FloatArray, FloatArray] | None = None
    mark_gaps: int = 0

    @property
    def settled_by(self) -> Timeframe | None:
        """Length of the bars that settle the order of events inside these; null without finer ones."""
        return self.minutes.timeframe if self.minutes is not None and self.minutes.step < self.step else None

    @property
    def liquidation_price(self) -> str:
        """What liquidations go by: `mark`, `last`, or `mixed` where some bars have no mark prices."""
        return "last" if self.mark is None else "mixed" if self.mark_gaps else "mark"

    @cached_property
    def mark_bounds(self) -> tuple[float, float]:
        """Lowest and highest mark price, by which the kernel knows what can be liquidated at all; (0, inf) without."""
        if self.mark is None or not len(self):
            return 0.0, np.inf
        return min(float(prices.min()) for prices in self.mark), max(float(prices.max()) for prices in self.mark)

    @property
    def step(self) -> int:
        """Length of a bar in microseconds."""
        return MINUTES[self.timeframe] * MINUTE_US

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def expected(self) -> int:
        """Number of bars that open and close inside the window where none is missing."""
        return expected_bars(self.start, self.end, self.step)

    @cached_property
    def fillable(self) -> int:
        """Number of bars that can be traded on: neither missing nor flagged."""
        return int(np.count_nonzero(self.state & FILLABLE))

    @property
    def hours(self) -> IntArray:
        """Full hours of the window, microseconds since 1970.

        The result has shape (n_hours,).
        """
        return full_hours(self.start, self.end)

    @cached_property
    def hours_with_bars(self) -> npt.NDArray[np.bool_]:
        """For each hourly return (`backtester.statistics.metrics.hourly_returns`) whether there are bars in its hour.

        The result has shape (n_returns,).

        That is an hour in which a bar closed, or, of bars longer than an hour, which lies inside a bar. A position is
        marked at the close alone, so the other hours of a longer bar have returns of zero; without them the ratios of
        a year would be of fewer hours than it has.
        """
        if self.step > HOUR_US:
            ends = self.hours[1:] if self.start % HOUR_US == 0 else self.hours
            row = np.minimum(np.searchsorted(self.ts + self.step, ends, side="left"), max(len(self) - 1, 0))
            inside = (self.ts[row] < ends) & (ends <= self.ts[row] + self.step) if len(self) else ends < 0
            return np.asarray(inside, dtype=np.bool_)
        rows = self.hour_row if self.start % HOUR_US == 0 else np.concatenate([[-1], self.hour_row])
        return np.diff(rows) > 0

    @cached_property
    def packed(self) -> IntArray:
        """Its part of a row of the kernel's lane table; the rest is 0. Valid as long as these bars exist.

        The result has shape (`kernel.LANE_COLUMNS`,).
        """
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
            (kernel.VOLUME, self.quote_volume),
        ):
            row[column] = address(array)
        row[kernel.FUND_N], row[kernel.HOUR_N] = len(self.funding_row), len(self.hour_row)
        if self.mark is not None:
            row[[kernel.MARK_OPEN, kernel.MARK_HIGH, kernel.MARK_LOW]] = [address(array) for array in self.mark]
        finer = self.minutes
        if finer is not None and finer.step < self.step:
            row[kernel.MINUTE_N], row[kernel.MINUTE_STEP] = len(finer.ts), finer.step
            row[kernel.MINUTE_TS], row[kernel.MINUTE_OK] = address(finer.ts), address(finer.sound)
            row[kernel.MINUTE_OPEN] = address(finer.open)
            row[kernel.MINUTE_HIGH], row[kernel.MINUTE_LOW] = address(finer.high), address(finer.low)
        return row

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
        timeframe : Timeframe
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

        Returns
        -------
        Bars
            Arrays of shape (n_bars,), contiguous.

        Raises
        ------
        BarError
            If a price is null, not finite, not positive or outside its bar's range; if times are unsorted, doubled or
            off the grid; if a funding rate is not finite; if several symbols are mixed; if a bar is outside the
            window. The message names the row and the value.
        """
        name = _only_symbol(candles, symbol)
        ts, prices, sound = checked_candles(candles, timeframe, name)
        step = MINUTES[timeframe] * MINUTE_US
        first = to_micros(start) if start is not None else (int(ts[0]) if len(ts) else 0)
        last = to_micros(end) if end is not None else (int(ts[-1]) + step if len(ts) else first)
        _inside_window(ts, (first, last), name, timeframe)
        paid_ts, rates = checked_funding(funding, name)
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
            quote_volume=traded_value(candles, prices[3]),
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
    """Return where a contiguous array lies; whoever uses it keeps the array.

    The array may have any shape.
    """
    return int(array.__array_interface__["data"][0])


def expected_bars(start: int, end: int, step: int) -> int:
    """Return the number of whole bars in a window.

    Parameters
    ----------
    start, end : int
        The window, microseconds since 1970.
    step : int
        Length of a bar, microseconds.

    Returns
    -------
    int
        Bars that open at `start` or later and close at `end` or earlier.

    Examples
    --------
    >>> expected_bars(0, 10 * MINUTE_US, 5 * MINUTE_US)
    2
    """
    return max(end // step - -(-start // step), 0)


def full_hours(start: int, end: int) -> IntArray:
    """Return the full hours in [start, end], microseconds since 1970, shape (n_hours,)."""
    return np.arange(-(-start // HOUR_US) * HOUR_US, end + 1, HOUR_US, dtype=np.int64)


def hour_rows(ts: IntArray, step: int, start: int, end: int) -> IntArray:
    """Return for each full hour of a window the last bar that has closed by then.

    Parameters
    ----------
    ts : ndarray of shape (n_bars,), int64
        Opening times, microseconds since 1970.
    step : int
        Length of a bar, microseconds.
    start, end : int
        The window, microseconds since 1970.

    Returns
    -------
    ndarray of shape (n_hours,), int64
        Row of the bar, -1 before the first.
    """
    return np.ascontiguousarray(np.searchsorted(ts + step, full_hours(start, end), side="right") - 1, dtype=np.int64)


def _only_symbol(candles: pl.DataFrame, symbol: str | None) -> str:
    if "symbol" not in candles.columns or candles.is_empty():
        return symbol or ""
    names = candles["symbol"].unique().to_list()
    if len(names) > 1:
        msg = (
            f"candles of {len(names)} symbols ({', '.join(sorted(names)[:5])}) in one lane; pass the rows of one symbol"
        )
        raise BarError(msg)
    if symbol is not None and names[0] != symbol:
        msg = f"candles are of {names[0]}, not of {symbol}; pass the candles of {symbol}"
        raise BarError(msg)
    return str(names[0])


def _refuse(candles: pl.DataFrame, where: str, row: int, what: str, value: Any) -> NoReturn:
    msg = f"{where}: row {row} ({candles['ts'][row]}) has {what} {value}"
    raise BarError(msg)


def checked_candles(
    candles: pl.DataFrame, timeframe: Timeframe, symbol: str | None = None
) -> tuple[IntArray, tuple[FloatArray, FloatArray, FloatArray, FloatArray], npt.NDArray[np.bool_]]:
    """Check the candles of one symbol and return them as arrays.

    Parameters
    ----------
    candles : DataFrame
        `ts`, `open`, `high`, `low`, `close`, sorted by `ts`; `flag` may be absent.
    timeframe : Timeframe
        Length of the bars.
    symbol : str, optional
        Name in messages.

    Returns
    -------
    tuple of (ndarray, tuple of four ndarray, ndarray), each of shape (n_bars,)
        Opening times in microseconds since 1970; open, high, low and close; which bars are not flagged.

    Raises
    ------
    BarError
        If a column is missing, times are null, unsorted, doubled or off the grid, or a price is null, not finite, not
        positive or outside its bar's range. The message names the row and the value.
    """
    where = f"{symbol or 'candles'} {timeframe}"
    missing = [name for name in ("ts", *PRICES) if name not in candles.columns]
    if missing:
        msg = f"{where}: no column {', '.join(missing)}; pass a candle frame with ts, open, high, low, close"
        raise BarError(msg)
    if candles["ts"].null_count():
        row = int(candles["ts"].is_null().arg_max() or 0)
        msg = f"{where}: row {row} has null in ts; pass a UTC time for every row"
        raise BarError(msg)
    ts = micros_of(candles["ts"])
    step = MINUTES[timeframe] * MINUTE_US
    gaps = np.diff(ts)
    if (gaps <= 0).any():
        row = int(np.argmax(gaps <= 0)) + 1
        what = "the same time as the row above it:" if gaps[row - 1] == 0 else "a time before that of the row above it:"
        _refuse(candles, where, row, what, candles["ts"][row])
    if (gaps % step != 0).any():
        row = int(np.argmax(gaps % step != 0)) + 1
        what = f"a time that is no multiple of {timeframe} after the row above it:"
        _refuse(candles, where, row, what, candles["ts"][row])
    sound = candles["flag"].is_null().to_numpy() if "flag" in candles.columns else np.ones(len(ts), dtype=np.bool_)
    columns = [np.ascontiguousarray(candles[name].cast(pl.Float64).to_numpy(), dtype=np.float64) for name in PRICES]
    for name, column in zip(PRICES, columns, strict=True):
        bad = ~((column > 0.0) & (column < np.inf))
        if bad.any():
            row = int(np.argmax(bad))
            _refuse(candles, where, row, name, candles[name][row])
    opens, highs, lows, closes = columns
    for name, column, bad in (
        ("high", highs, (highs < np.maximum(opens, closes)) & sound),
        ("low", lows, (lows > np.minimum(opens, closes)) & sound),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            beyond = f"{name} {column[row]}, which does not hold its open {opens[row]} and close"
            _refuse(candles, where, row, beyond, closes[row])
    return ts, (opens, highs, lows, closes), sound


def _inside_window(ts: IntArray, window: tuple[int, int], symbol: str, timeframe: Timeframe) -> None:
    (first, last), step = window, MINUTES[timeframe] * MINUTE_US
    if len(ts) and (ts[0] < first or ts[-1] + step > last):
        row = 0 if ts[0] < first else len(ts) - 1
        msg = (
            f"{symbol} {timeframe}: row {row} ({from_micros(int(ts[row]))}) is outside the window "
            f"{from_micros(first)} to {from_micros(last)}"
        )
        raise BarError(msg)


def traded_value(candles: pl.DataFrame, close: FloatArray) -> FloatArray:
    """Return what was traded in each bar in quote currency, shape (n_bars,): volume × close where unknown, else NaN."""
    unknown = np.full(len(close), np.nan)
    value, volume = (
        candles[name].cast(pl.Float64).fill_null(np.nan).to_numpy() if name in candles.columns else unknown
        for name in ("quote_volume", "volume")
    )
    return np.where(np.isnan(value), volume * close, value)


def checked_funding(funding: pl.DataFrame | None, symbol: str) -> tuple[IntArray, FloatArray]:
    """Check the payments of one symbol and return them as arrays.

    Parameters
    ----------
    funding : DataFrame, optional
        `ts` and `rate`, sorted by `ts`; with a column `symbol`, the rows of others are left out.
    symbol : str
        Whose payments.

    Returns
    -------
    tuple of two ndarray of shape (n_payments,)
        Times at which they count as made (`features.bars.funding_time`), microseconds since 1970, and rates.

    Raises
    ------
    BarError
        If a rate is not finite or no fraction, or times are unsorted or doubled.
    """
    if funding is None or funding.is_empty():
        return np.empty(0, dtype=np.int64), np.empty(0)
    if "symbol" in funding.columns and symbol:
        funding = funding.filter(pl.col("symbol") == symbol)
    rates = np.ascontiguousarray(funding["rate"].cast(pl.Float64).to_numpy(), dtype=np.float64)
    bad = ~(np.abs(rates) <= MOST_FUNDING)
    if bad.any():
        row = int(np.argmax(bad))
        msg = (
            f"{symbol} funding: row {row} ({funding['ts'][row]}) has rate {funding['rate'][row]}; pass a fraction of "
            f"the notional between -{MOST_FUNDING} and {MOST_FUNDING}, not percent"
        )
        raise BarError(msg)
    ts = micros_of(funding.select(funding_time(pl.col("ts")))["ts"])
    unsorted = np.diff(ts) <= 0
    if unsorted.any():
        row = int(np.argmax(unsorted)) + 1
        same = "the time of the row above it" if ts[row] == ts[row - 1] else "a time before that of the row above it"
        msg = f"{symbol} funding: row {row} has {same}: {funding['ts'][row - 1]}, then {funding['ts'][row]}"
        raise BarError(msg)
    return ts, rates


def _funding_known(ts: IntArray, paid: IntArray) -> npt.NDArray[np.bool_]:
    """Return for each bar whether its funding is known, shape (n_bars,).

    An interval between two payments counts as known if it is at most one and a half times the usual interval just
    before or just after it (`_usual`), since exchanges change their funding interval. One usual interval before the
    first payment and after the last counts as well.
    """
    if not len(paid):
        return np.zeros(len(ts), dtype=np.bool_)
    spans = np.diff(paid)
    longest = max(DEFAULT_FUNDING_PERIOD_US, np.median(spans)) if len(spans) else DEFAULT_FUNDING_PERIOD_US
    before, after = np.minimum(_usual(spans), longest), np.minimum(_usual(spans[::-1])[::-1], longest)
    usual = np.nan_to_num(np.fmax(before[:-1], after[1:]), nan=DEFAULT_FUNDING_PERIOD_US)
    whole = 2 * spans <= 3 * usual
    first, last = (DEFAULT_FUNDING_PERIOD_US if np.isnan(end) else int(end) for end in (after[0], before[-1]))
    edges = np.concatenate([[paid[0] - first], paid, [paid[-1] + last]])
    place = np.searchsorted(edges, ts, side="right")
    within = (place > 0) & (place < len(edges))
    is_known: npt.NDArray[np.bool_] = within & np.r_[True, whole, True][np.clip(place - 1, 0, len(edges) - 2)]
    return is_known


def _usual(spans: IntArray) -> FloatArray:
    """Return the median of the intervals just before each of the n + 1 ends of n intervals; NaN where there is none."""
    medians = pl.Series(spans, dtype=pl.Float64).rolling_median(_NEIGHBOURS, min_samples=1)
    return np.concatenate([[np.nan], medians.to_numpy()])


def _checked_mark(
    mark: pl.DataFrame, ts: IntArray, symbol: str, timeframe: Timeframe
) -> tuple[FloatArray, FloatArray, FloatArray]:
    times = micros_of(mark["ts"])
    if len(times) != len(ts) or (times != ts).any():
        msg = f"{symbol} {timeframe}: mark-price candles ({len(times)} rows) are not on the times of the {len(ts)} bars"
        raise BarError(msg)
    columns = []
    for name in MARKS:
        column = np.ascontiguousarray(mark[name].cast(pl.Float64).to_numpy(), dtype=np.float64)
        bad = ~((column > 0.0) & (column < np.inf))
        if bad.any():
            row = int(np.argmax(bad))
            _refuse(mark, f"{symbol} mark {timeframe}", row, name, mark[name][row])
        columns.append(column)
    return columns[0], columns[1], columns[2]
