"""The market of a book as dense arrays time × symbol.

Belongs here: from frames of bars, membership and funding to arrays, and what every book on the same market shares:
marks, returns, volatilities, betas. Does not belong here: what a book does with them
(`backtester.simulation.book_kernel`), who belongs to a universe, reading from a store.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple, Self

import numpy as np
import polars as pl

from backtester.simulation import book_kernel
from backtester.simulation.bar_arrays import (
    checked_candles,
    checked_funding,
    from_micros,
    micros_of,
    to_micros,
    traded_value,
)
from backtester.simulation.costs import MarginRules
from features.array_types import BoolArray, FloatArray, IntArray
from features.bars import CANDLE_SCHEMA, MINUTE_US, MINUTES, TS, Timeframe, bar_length

MONDAY: Final = 4 * 24 * 3_600_000_000
"""Monday, 1970-01-05 00:00 UTC, in microseconds: rebalance bars are counted from here."""
DAY_US: Final = 24 * 60 * MINUTE_US
NEVER: Final = np.iinfo(np.int64).max
"""End of a symbol that has none."""
LARGEST_VALUE: Final = 1e100
"""Scores beyond this are unknown: their sums would not be finite."""
_KEPT: Final = 64
"""Most volatilities and betas that are remembered, by their rows: those of each tranche of a few intervals."""
_EPOCH: Final = date(1970, 1, 1).toordinal()
_PRICES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Contract:
    """What an exchange says of one symbol.

    Parameters
    ----------
    lot : float
        Smallest step of an order, in base units; 0 if unknown: then quantities are not rounded.
    minimum : float
        Smallest order, in base units; 0 if unknown.
    maintenance : float
        Maintenance margin, as a fraction of notional.
    delisted : datetime, optional
        When trading ends (UTC).
    announced : datetime, optional
        When that became known. Where omitted nobody announced the end: it was seen in later bars, and is never read.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    lot: float = 0.0
    minimum: float = 0.0
    maintenance: float = MarginRules().highest_rate()
    delisted: datetime | None = None
    announced: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("lot", "minimum"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0.0):
                msg = f"{name} is {value!r}; pass base units, 0 if unknown"
                raise ValueError(msg)
        if not 0.0 <= self.maintenance < 1.0:
            msg = f"maintenance is {self.maintenance!r}; pass a fraction of notional from 0 to below 1"
            raise ValueError(msg)

    @property
    def end(self) -> int:
        """When its end is both reached and known, in microseconds since 1970; `NEVER` if it was not announced."""
        if self.delisted is None or self.announced is None:
            return int(NEVER)
        return to_micros(max(self.delisted, self.announced))


def contracts_of(instruments: pl.DataFrame, listings: pl.DataFrame | None = None) -> dict[str, Contract]:
    """Return the contracts that frames of a market source describe, by symbol.

    Parameters
    ----------
    instruments : DataFrame
        `symbol`, `as_of`, `contract_value`, `lot_size`, `min_size` (in contracts) and `maintenance_margin_rate`; null
        where unknown. The last row of each symbol counts.
    listings : DataFrame, optional
        `symbol`, `delist_time` and `announced`, the time at which the delisting became known; null where there is none.

    Returns
    -------
    dict of str to Contract
        One for each symbol of either frame.

    Notes
    -----
    No look-ahead: a delisting without `announced` is left out, since listings are described afterwards: an archive
    infers an end from bars that came later. Such a symbol's bars just end.
    """
    usual = Contract()
    ends: dict[str, tuple[datetime | None, datetime | None]] = {}
    if listings is not None:
        told = pl.col("announced") if "announced" in listings.columns else pl.lit(None, TS)
        known = listings.select("symbol", pl.when(told.is_not_null()).then("delist_time"), told.alias("announced"))
        ends = {symbol: (end, announced) for symbol, end, announced in known.iter_rows()}
    newest = instruments.sort("as_of").group_by("symbol").last()
    described = {row["symbol"]: row for row in newest.iter_rows(named=True)}
    found = {}
    for symbol in sorted({*described, *ends}):
        row = described.get(symbol, {})
        size, rate = row.get("contract_value") or 1.0, row.get("maintenance_margin_rate")
        delisted, announced = ends.get(symbol, (None, None))
        found[symbol] = Contract(
            lot=(row.get("lot_size") or 0.0) * size,
            minimum=(row.get("min_size") or 0.0) * size,
            maintenance=usual.maintenance if rate is None else rate,
            delisted=delisted,
            announced=announced,
        )
    return found


class Limits(NamedTuple):
    """Lots, smallest orders and maintenance rates of all symbols, each an array of shape (n_symbols,)."""

    lot: FloatArray
    minimum: FloatArray
    maintenance: FloatArray


@dataclass(frozen=True, eq=False)
class BookMarket:
    """Bars, membership, funding and contracts of some symbols on one grid of times.

    Attributes
    ----------
    symbols : tuple of str
        Sorted; the columns of every array.
    timeframe : Timeframe
        Length of a bar.
    ts : ndarray of shape (n_bars,), int64
        Opening times in microseconds since 1970, without gaps.
    open, high, low, close : ndarray of shape (n_bars, n_symbols)
        NaN where a bar is missing, flagged, or lies at or after the end of its symbol: such bars cannot be traded.
    quote_volume : ndarray of shape (n_bars, n_symbols)
        Traded value, volume × close where only that is known; NaN where unknown.
    member : ndarray of shape (n_bars, n_symbols), bool
        Whether the symbol is in the universe at the bar's close.
    funding : ndarray of shape (n_bars, n_symbols)
        Sum of the rates paid after the open of the bar before, up to this open.
    contracts : tuple of Contract
        One for each symbol.
    payments : ndarray of shape (n_bars, n_symbols), optional
        Number of payments in `funding`; None: one wherever the rate is not 0.
    """

    symbols: tuple[str, ...]
    timeframe: Timeframe
    ts: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    quote_volume: FloatArray
    member: BoolArray
    funding: FloatArray
    contracts: tuple[Contract, ...]
    payments: IntArray | None = None
    _measured: dict[tuple[str, bytes], FloatArray] = field(default_factory=dict, repr=False)

    @classmethod
    def from_frames(
        cls,
        candles: pl.DataFrame,
        timeframe: Timeframe = "60m",
        *,
        funding: pl.DataFrame | None = None,
        universe: pl.DataFrame | None = None,
        contracts: Mapping[str, Contract] | None = None,
    ) -> Self:
        """Return the market that frames describe.

        Parameters
        ----------
        candles : DataFrame
            `CANDLE_SCHEMA`, one timeframe, any number of symbols, sorted by time within each symbol.
        timeframe : Timeframe
            Of the candles.
        funding : DataFrame, optional
            `FUNDING_SCHEMA`, sorted by time within each symbol. Nothing is paid where it has no row.
        universe : DataFrame, optional
            `day` (Date), `symbol`, `member` (Boolean): who belongs to the universe from the start of that UTC day,
            known then. A bar belongs to the day in which it closes, at midnight to the next. It may begin later than
            the bars, with nobody a member before, but holds every day from then to the last bar. Without it every
            symbol is a member throughout: the list was chosen by whoever chose the candles.
        contracts : mapping of str to Contract, optional
            By symbol; without rounding and without end where omitted.

        Returns
        -------
        BookMarket
            From the first bar of any symbol to the last.

        Raises
        ------
        ValueError
            If there are no candles, a column is missing, a bar is off the grid, or the universe lacks a day.
        BarError
            If bars or payments are malformed: the checks are those of `Bars.from_frame`.

        Notes
        -----
        No look-ahead: row t holds what was known at the close of bar t.
        """
        _check(candles, timeframe)
        parts = {str(name): part for (name,), part in candles.partition_by("symbol", as_dict=True).items()}
        symbols = tuple(sorted(parts))
        step = MINUTES[timeframe] * MINUTE_US
        checked = {symbol: checked_candles(parts[symbol], timeframe, symbol) for symbol in symbols}
        first = min(int(time[0]) for time, _, _ in checked.values())
        last = max(int(time[-1]) for time, _, _ in checked.values())
        ts = np.arange(first, last + step, step, dtype=np.int64)
        given = tuple((contracts or {}).get(symbol, Contract()) for symbol in symbols)
        arrays = {name: np.full((len(ts), len(symbols)), np.nan) for name in (*_PRICES, "quote_volume")}
        for column, symbol in enumerate(symbols):
            time, prices, sound = checked[symbol]
            sound &= time < given[column].end
            rows = (time[sound] - first) // step
            for name, values in zip(_PRICES, prices, strict=True):
                arrays[name][rows, column] = values[sound]
            arrays["quote_volume"][rows, column] = traded_value(parts[symbol], prices[3])[sound]
        due, payments = _payments(funding, symbols, ts, step)
        return cls(
            symbols,
            timeframe,
            ts,
            open=arrays["open"],
            high=arrays["high"],
            low=arrays["low"],
            close=arrays["close"],
            quote_volume=arrays["quote_volume"],
            member=_membership(universe, symbols, ts + step),
            funding=due,
            contracts=given,
            payments=payments,
        )

    def dense(self, frame: pl.DataFrame, name: str) -> FloatArray:
        """Return a column of a frame as an array over this market.

        Parameters
        ----------
        frame : DataFrame
            `symbol`, `ts` and the column, of bars of this market's symbols and times.
        name : str
            A number or a truth value.

        Returns
        -------
        ndarray of shape (n_bars, n_symbols)
            Truth values as 0 and 1; NaN for null, and where a bar cannot be traded.

        Raises
        ------
        ValueError
            If a row is of another symbol or time than the market has.
        """
        array = np.full(self.close.shape, np.nan)
        rows, columns = (micros_of(frame["ts"]) - self.ts[0]) // self.step, _places(frame["symbol"], self.symbols)
        strange = (columns < 0) | (rows < 0) | (rows >= len(self.ts))
        if strange.any():
            row = int(np.argmax(strange))
            msg = (
                f"{name} of {frame['symbol'][row]} at {frame['ts'][row]}: the market has no such bar; give values of "
                f"its {len(self.symbols)} symbols from {self.time_of(0)} to {self.time_of(-1)}"
            )
            raise ValueError(msg)
        array[rows, columns] = frame[name].cast(pl.Float64).to_numpy()
        return np.where(self.fillable, array, np.nan)

    @property
    def step(self) -> int:
        """Length of a bar in microseconds."""
        return MINUTES[self.timeframe] * MINUTE_US

    @cached_property
    def ends(self) -> IntArray:
        """When each symbol ends, in microseconds since 1970; shape (n_symbols,)."""
        return np.array([contract.end for contract in self.contracts], dtype=np.int64)

    @cached_property
    def limits(self) -> "Limits":
        """What the exchange says of the symbols, as arrays."""
        named = {name: np.array([getattr(contract, name) for contract in self.contracts]) for name in Limits._fields}
        return Limits(**named)

    @cached_property
    def fillable(self) -> BoolArray:
        """Bars that can be traded, shape (n_bars, n_symbols)."""
        return ~np.isnan(self.open)

    @cached_property
    def there(self) -> BoolArray:
        """Bars in which any symbol can be traded; shape (n_bars,)."""
        any_there: BoolArray = np.asarray(self.fillable.any(axis=1))
        return any_there

    @cached_property
    def last(self) -> IntArray:
        """Row of the last tradable bar at or before each, -1 where there is none; shape (n_bars, n_symbols)."""
        rows = np.where(self.fillable, np.arange(len(self.ts))[:, None], -1)
        return np.maximum.accumulate(rows, axis=0)

    @cached_property
    def mark(self) -> FloatArray:
        """Close of the last tradable bar, NaN before the first; shape (n_bars, n_symbols)."""
        marks = np.take_along_axis(self.close, np.maximum(self.last, 0), axis=0)
        return np.where(self.last >= 0, marks, np.nan)

    @cached_property
    def gaps(self) -> FloatArray:
        """Largest jump of any symbol from its last mark to this open, as a fraction of the mark; shape (n_bars,)."""
        jumps = np.zeros(len(self.ts))
        moved = np.abs(self.open[1:] / self.mark[:-1] - 1.0)
        jumps[1:] = np.where(np.isnan(moved), 0.0, moved).max(axis=1)
        return jumps

    @cached_property
    def silent(self) -> BoolArray:
        """Bars in which a symbol that was traded before cannot be traded; shape (n_bars,)."""
        gone = ~self.fillable & (self.last >= 0)
        any_gone: BoolArray = np.asarray(gone.any(axis=1))
        return any_gone

    @cached_property
    def returns(self) -> FloatArray:
        """Return of each bar on the one before, NaN where either cannot be traded; shape (n_bars, n_symbols)."""
        result = np.full_like(self.close, np.nan)
        result[1:] = self.close[1:] / self.close[:-1] - 1.0
        return result

    @cached_property
    def returns_of(self) -> FloatArray:
        """The same with the bars of each symbol side by side; shape (n_symbols, n_bars)."""
        return np.ascontiguousarray(self.returns.T)

    @cached_property
    def average(self) -> FloatArray:
        """Equal-weighted return of those that were members at the close before; NaN where none; shape (n_bars,)."""
        mean: FloatArray = book_kernel.average_returns(self.returns, self.member)
        return mean

    @cached_property
    def paid(self) -> BoolArray:
        """Bars at whose open funding of some symbol is due; shape (n_bars,)."""
        due: BoolArray = (self.funding != 0.0).any(axis=1)
        return due

    @cached_property
    def funding_known(self) -> BoolArray:
        """Whether a symbol paid within the 24 hours up to a bar's open, zero included; shape (n_bars, n_symbols)."""
        made = (self.funding != 0.0) if self.payments is None else self.payments
        paid = np.cumsum(made, axis=0)
        day = DAY_US // self.step
        earlier = np.zeros_like(paid)
        earlier[day:] = paid[:-day] if day < len(paid) else 0
        known: BoolArray = np.asarray(paid - earlier > 0)
        return known

    @cached_property
    def changed(self) -> BoolArray:
        """Bars at whose close membership differs from the close before; shape (n_bars,)."""
        changes = np.zeros(len(self.ts), dtype=np.bool_)
        changes[1:] = (self.member[1:] != self.member[:-1]).any(axis=1)
        return changes

    def rebalance_rows(self, rebalance: timedelta, phase: timedelta = timedelta(0), begin: int = 0) -> IntArray:
        """Return the rows of the rebalance bars from `begin` on, without the last bar of all, which no fill follows.

        Parameters
        ----------
        rebalance : timedelta
            Interval; a bar whose opening time is a multiple of it since Monday 1970-01-05 00:00 UTC is one.
        phase : timedelta
            By how much later the bars lie.
        begin : int
            First row that counts.

        Returns
        -------
        ndarray of shape (n_rebalances,), int64
            Ascending.
        """
        every, later = rebalance // timedelta(microseconds=1), phase // timedelta(microseconds=1)
        # bars lie at equal distances, so once one is a multiple of the interval, each so many bars later is one
        apart = every // math.gcd(every, self.step)
        first = np.flatnonzero((self.ts[:apart] - MONDAY - later) % every == 0)
        if not len(first):
            return np.empty(0, dtype=np.int64)
        rows = np.arange(first[0], len(self.ts) - 1, apart, dtype=np.int64)
        return rows[np.searchsorted(rows, begin) :]

    def values_at(self, values: FloatArray, rows: IntArray, oldest: timedelta) -> FloatArray:
        """Return the values of the last tradable bars at some rows.

        Parameters
        ----------
        values : ndarray of shape (n_bars, n_symbols)
            Scores or weights at each bar's close; NaN is unknown.
        rows : ndarray of shape (n_rows,), int64
            Where they are asked for.
        oldest : timedelta
            Age beyond which a value counts no longer.

        Returns
        -------
        ndarray of shape (n_rows, n_symbols)
            NaN where the last tradable bar is too old or there is none.
        """
        last = self.last[rows]
        found = np.take_along_axis(values, np.maximum(last, 0), axis=0)
        return self.fresh(found, rows, oldest)

    def fresh(self, found: FloatArray, rows: IntArray, oldest: timedelta) -> FloatArray:
        """Return values read from the last tradable bars at some rows, NaN where those are too old or beyond bounds.

        Parameters
        ----------
        found : ndarray of shape (n_rows, n_symbols)
            The values.
        rows : ndarray of shape (n_rows,), int64
            Where they were asked for.
        oldest : timedelta
            Age beyond which a value counts no longer.

        Returns
        -------
        ndarray of shape (n_rows, n_symbols)
            With NaN for what is not known.
        """
        good = np.abs(found) <= LARGEST_VALUE
        age = rows[:, None] - self.last[rows]
        if age.any():  # where no bar is missing, none is old
            good &= (age <= rows[:, None]) & (age * self.step <= oldest // timedelta(microseconds=1))
        return np.where(good, found, np.nan)

    def volatilities(self, rows: IntArray) -> FloatArray:
        """Return standard deviations of bars' returns over the 720 bars up to some rows.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,), int64
            Where they are asked for.

        Returns
        -------
        ndarray of shape (n_rows, n_symbols)
            NaN where fewer than half of the bars are known. Remembered: not to be written to.
        """
        return self._remembered("volatility", rows, lambda: book_kernel.deviations(self.returns, rows))

    def betas(self, rows: IntArray) -> FloatArray:
        """Return betas to the universe's average over the 720 bars up to some rows, clipped to [0.2, 3].

        Parameters
        ----------
        rows : ndarray of shape (n_rows,), int64
            Where they are asked for.

        Returns
        -------
        ndarray of shape (n_rows, n_symbols)
            NaN where fewer than half of the bars are known. Remembered: not to be written to.
        """
        return self._remembered("beta", rows, lambda: book_kernel.betas(self.returns, self.average, rows))

    def row_at(self, moment: datetime) -> int:
        """Return the first row that opens at or after `moment` (UTC)."""
        return int(np.searchsorted(self.ts, to_micros(moment)))

    def time_of(self, row: int) -> datetime:
        """Return the opening time of a row."""
        return from_micros(int(self.ts[row]))

    def until(self, moment: datetime) -> Self:
        """Return the market of the bars that closed at or before `moment`."""
        count = self.row_at(moment - bar_length(self.timeframe) + timedelta(microseconds=1))
        arrays = {name: getattr(self, name)[:count] for name in (*_PRICES, "ts", "quote_volume", "member", "funding")}
        return type(self)(symbols=self.symbols, timeframe=self.timeframe, contracts=self.contracts, **arrays)

    def _remembered(self, name: str, rows: IntArray, measure: Callable[[], FloatArray]) -> FloatArray:
        key = (name, rows.tobytes())
        if key not in self._measured:
            if len(self._measured) >= _KEPT:
                self._measured.pop(next(iter(self._measured)))
            self._measured[key] = measure()
        return self._measured[key]


def _check(candles: pl.DataFrame, timeframe: Timeframe) -> None:
    missing = [name for name in CANDLE_SCHEMA.names() if name not in candles.columns]
    if missing or candles.is_empty():
        what = f"no column {', '.join(missing)}" if missing else "no rows"
        msg = f"the candles of the book's market have {what}; give bars of CANDLE_SCHEMA"
        raise ValueError(msg)
    off = candles.filter(pl.col("ts").to_physical() % (MINUTES[timeframe] * MINUTE_US) != 0)
    if not off.is_empty():
        msg = f"the bar of {off['symbol'][0]} at {off['ts'][0]} is off the grid; give bars of {timeframe}"
        raise ValueError(msg)


def _places(names: pl.Series, symbols: tuple[str, ...]) -> IntArray:
    """Return the column of each symbol, -1 where it has none."""
    return names.replace_strict(list(symbols), list(range(len(symbols))), default=-1, return_dtype=pl.Int64).to_numpy()


def _membership(universe: pl.DataFrame | None, symbols: tuple[str, ...], closes: IntArray) -> BoolArray:
    """Return who is a member at each close; the universe of a day holds from its start on."""
    if universe is None:
        return np.ones((len(closes), len(symbols)), dtype=np.bool_)
    first = int(closes[0]) // DAY_US
    count = int(closes[-1]) // DAY_US - first + 1
    days = universe["day"].cast(pl.Date).to_physical().to_numpy().astype(np.int64) - first
    _refuse_holes(days, first, int(closes[-2 if len(closes) > 1 else -1]) // DAY_US - first)
    columns = _places(universe["symbol"], symbols)
    inside = (days >= 0) & (days < count) & (columns >= 0) & universe["member"].fill_null(value=False).to_numpy()
    by_day = np.zeros((count, len(symbols)), dtype=np.bool_)
    by_day[days[inside], columns[inside]] = True
    return by_day[closes // DAY_US - first]


def _refuse_holes(days: IntArray, first: int, last: int) -> None:
    """Refuse a universe that lacks a day between its first one, or the first bar's, and `last`.

    Nobody is a member on such a day, so a book would sell everything. Days count from `first`; the close of the very
    last bar decides nothing, so its day may be missing.

    Raises
    ------
    ValueError
        If a day is missing.
    """
    begin = min(max(int(days.min()), 0), last) if len(days) else 0
    missing = np.setdiff1d(np.arange(begin, last + 1), days)
    if len(missing):
        shown = ", ".join(str(date.fromordinal(_EPOCH + first + int(day))) for day in missing[:3])
        more = f" and {len(missing) - 3} more days" if len(missing) > 3 else ""  # noqa: PLR2004 - the days shown
        msg = f"the universe has no row of {shown}{more}; give the members of each day, or leave those bars out"
        raise ValueError(msg)


def _payments(
    funding: pl.DataFrame | None, symbols: tuple[str, ...], ts: IntArray, step: int
) -> tuple[FloatArray, IntArray]:
    """Return the rates due at each open, those paid after the open before, up to this one; and their number."""
    due, count = np.zeros((len(ts), len(symbols))), np.zeros((len(ts), len(symbols)), dtype=np.int64)
    if funding is None or funding.is_empty():
        return due, count
    for column, symbol in enumerate(symbols):
        time, rates = checked_funding(funding, symbol)
        rows = -((ts[0] - time) // step)  # the first open at or after the payment
        inside = (rows >= 0) & (rows < len(ts)) & (time > ts[0] - step)
        np.add.at(due[:, column], rows[inside], rates[inside])
        np.add.at(count[:, column], rows[inside], 1)
    return due, count
