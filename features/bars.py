"""Timeframes, candles and bar times, shared by all domain packages.

Belongs here: timeframes, the schemas of candle and funding frames, the protocol through which domain code reads them,
and the arithmetic of bar times. Does not belong here: reading from a store (`blofin_resources`), building higher
timeframes (`backtester.resampling`), computing anything from prices (`features.registry`).

A bar is named by its opening time and is *closed* at open + timeframe. "As of T" means bars closed at or before T
and funding paid at or before T.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Protocol, get_args, runtime_checkable

import polars as pl

Timeframe = Literal["1m", "5m", "15m", "60m", "4h", "1d"]
"""The one list of timeframes, from the shortest; each is a whole multiple of the one before it, so bars nest."""

TIMEFRAMES: Final[tuple[Timeframe, ...]] = get_args(Timeframe)
"""Every timeframe: candles are kept, features are computed, and a strategy may trade on each."""

DEFAULT_TIMEFRAMES: Final[tuple[Timeframe, ...]] = ("1m", "5m", "60m")
"""Those of a strategy that names none, of the models, of the search and of the stored features."""

MINUTES: Final[dict[Timeframe, int]] = {"1m": 1, "5m": 5, "15m": 15, "60m": 60, "4h": 240, "1d": 1440}
"""Length of one bar, in minutes."""

MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US
"""Microseconds, the unit of `TS` as a whole number."""

TS: Final = pl.Datetime("us", "UTC")
"""The one dtype of times."""

CANDLE_SCHEMA: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "ts": TS,
        "open": pl.Float64(),
        "high": pl.Float64(),
        "low": pl.Float64(),
        "close": pl.Float64(),
        "volume": pl.Float64(),
        "quote_volume": pl.Float64(),
        "contracts": pl.Float64(),
        "minutes": pl.Int32(),
        "origin": pl.String(),
        "flag": pl.String(),
    }
)
"""Candles of any timeframe, sorted by (symbol, ts), at most one row for each.

`ts` opening time; prices in quote currency, never null; `volume` in base units, `quote_volume` in quote currency,
`contracts` in contracts, each null where unknown; `minutes` the number of 1-minute bars inside; `origin` what made
the candle (`sample`, `archive`, `blofin`, `ticks`); `flag` null for a sound bar, else why it is never traded on
(`single_price`, `incomplete`, `repaired`; several joined by a comma).
"""

FUNDING_SCHEMA: Final = pl.Schema({"symbol": pl.String(), "ts": TS, "rate": pl.Float64()})
"""Funding payments, sorted by (symbol, ts): `rate` is a fraction of notional, paid by longs where positive."""

MOST_FUNDING: Final = 0.1
"""Largest plausible funding rate, either way: exchanges cap a payment at a few percent of notional."""

FUNDING_SETTLES: Final = timedelta(seconds=5)
"""How long after a full minute a payment still counts as made at that minute; see `funding_time`."""

MARK_SCHEMA: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "ts": TS,
        "open": pl.Float64(),
        "high": pl.Float64(),
        "low": pl.Float64(),
        "close": pl.Float64(),
    }
)
"""1-minute bars of the mark price, sorted by (symbol, ts): opening times, prices in quote currency, never null."""

POSITIONING_SCHEMA: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "ts": TS,
        "open_interest": pl.Float64(),
        "open_interest_value": pl.Float64(),
        "top_accounts_ratio": pl.Float64(),
        "top_positions_ratio": pl.Float64(),
        "accounts_ratio": pl.Float64(),
        "taker_ratio": pl.Float64(),
    }
)
"""Positioning data, sorted by (symbol, ts), at most one row for each; null where unknown.

`ts` the time at which the values were known; `open_interest` in base units, `open_interest_value` in quote currency;
ratios of longs to shorts: of the accounts and of the positions of the largest traders, of all accounts, and of the
volumes that takers bought and sold.
"""


def places_by_symbol(frame: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """Return the first row and the number of rows of each symbol, whose rows stand together.

    Slices by them are parts of the same memory, which copies of the rows would not be.
    """
    runs = frame["symbol"].rle().struct.unnest()
    ends = runs["len"].cum_sum()
    return {
        symbol: (end - length, length) for symbol, end, length in zip(runs["value"], ends, runs["len"], strict=True)
    }


def bar_length(timeframe: Timeframe) -> timedelta:
    """Return the time between a bar's open and its close.

    Examples
    --------
    >>> bar_length("60m")
    datetime.timedelta(seconds=3600)
    """
    return timedelta(minutes=MINUTES[timeframe])


def readable_on(name: str, timeframe: Timeframe) -> bool:
    """Return whether bars of a timeframe can read a feature: its own prefix names no shorter one.

    Examples
    --------
    >>> readable_on("4h:rsi_14", "60m"), readable_on("BTC-USDT:4h:rsi_14", "1d"), readable_on("rsi_14", "1d")
    (True, False, True)
    """
    return all(MINUTES[timeframe] <= MINUTES[part] for part in TIMEFRAMES if part in name.split(":"))


def funding_time(ts: pl.Expr) -> pl.Expr:
    """Return the times at which payments count as made: the full minute for those within `FUNDING_SETTLES` after it.

    An exchange stamps a payment some milliseconds after the minute in which it is due. Without this correction, a
    position opened in that minute would pay for a period before it existed.
    """
    minute = ts.dt.truncate("1m")
    return pl.when(ts - minute <= FUNDING_SETTLES).then(minute).otherwise(ts)


def floor_time(moment: datetime, step: timedelta, epoch: datetime = datetime(1970, 1, 1, tzinfo=UTC)) -> datetime:
    """Return the last point of the grid `epoch + k * step` that is not after `moment`.

    Parameters
    ----------
    moment : datetime
        A time with a zone.
    step : timedelta
        Spacing of the grid.
    epoch : datetime, optional
        A point of the grid.

    Returns
    -------
    datetime
        In the zone of `moment`.

    Raises
    ------
    ValueError
        If `moment` has no time zone: every time in this project is in UTC and says so.

    Examples
    --------
    >>> floor_time(datetime(2025, 6, 12, 9, 47, tzinfo=UTC), timedelta(hours=1)).isoformat()
    '2025-06-12T09:00:00+00:00'
    """
    if moment.tzinfo is None:
        msg = f"{moment!r} has no time zone; give a UTC time such as 2025-06-12T00:00:00Z"
        raise ValueError(msg)
    return moment - (moment - epoch) % step


def ceil_time(moment: datetime, step: timedelta, epoch: datetime = datetime(1970, 1, 1, tzinfo=UTC)) -> datetime:
    """Return the first point of the grid `epoch + k * step` that is not before `moment`.

    Parameters
    ----------
    moment, step, epoch
        As in `floor_time`.

    Returns
    -------
    datetime
        In the zone of `moment`.

    Raises
    ------
    ValueError
        If `moment` has no time zone.

    Examples
    --------
    >>> ceil_time(datetime(2025, 6, 12, 9, 47, tzinfo=UTC), timedelta(hours=1)).isoformat()
    '2025-06-12T10:00:00+00:00'
    >>> ceil_time(datetime(2025, 6, 12, 9, tzinfo=UTC), timedelta(hours=1)).isoformat()
    '2025-06-12T09:00:00+00:00'
    """
    below = floor_time(moment, step, epoch)
    return below if below == moment else below + step


class CandleSource(Protocol):
    """Where domain code reads candles and funding: the warehouse, or plain frames in a test or notebook.

    No look-ahead: every call returns only what was closed or paid at or before `end`.
    """

    def candles(
        self, symbols: Sequence[str], timeframe: Timeframe, start: datetime | None, end: datetime
    ) -> pl.DataFrame:
        """Return the closed bars of a range.

        Parameters
        ----------
        symbols : sequence of str
            Symbols to read.
        timeframe : Timeframe
            Length of the bars.
        start : datetime or None
            Bars with `start <= ts`; from the first one if None.
        end : datetime
            Bars with `ts + timeframe <= end` (UTC).

        Returns
        -------
        DataFrame
            `CANDLE_SCHEMA`, sorted by (symbol, ts). Missing bars are missing rows; a known symbol without bars has
            none.

        Raises
        ------
        LookupError
            For a symbol that the source does not know.
        """
        ...

    def last_candles(self, symbols: Sequence[str], timeframe: Timeframe, as_of: datetime, count: int) -> pl.DataFrame:
        """Return the last bars of each symbol that closed at or before `as_of`.

        Parameters
        ----------
        symbols : sequence of str
            Symbols to read.
        timeframe : Timeframe
            Length of the bars.
        as_of : datetime
            Later bars are not read (UTC).
        count : int
            Bars per symbol, at least 1.

        Returns
        -------
        DataFrame
            `CANDLE_SCHEMA`, sorted by (symbol, ts); fewer bars if the history is shorter.

        Raises
        ------
        LookupError
            For a symbol that the source does not know.
        """
        ...

    def funding(self, symbols: Sequence[str], start: datetime | None, end: datetime) -> pl.DataFrame:
        """Return the funding payments of a range.

        Parameters
        ----------
        symbols : sequence of str
            Symbols to read.
        start : datetime or None
            Payments with `start <= ts`; from the first one if None.
        end : datetime
            Payments with `ts <= end` (UTC).

        Returns
        -------
        DataFrame
            `FUNDING_SCHEMA`, sorted by (symbol, ts).
        """
        ...

    def mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """Return the 1-minute bars of the mark price.

        Parameters
        ----------
        symbols : sequence of str
            Symbols to read.
        start, end : datetime
            Bars with `start <= ts` and `ts + 1 minute <= end` (UTC).

        Returns
        -------
        DataFrame
            `MARK_SCHEMA`, sorted by (symbol, ts). A symbol without mark prices has no rows, which is not an error:
            liquidations then use last prices.
        """
        ...


@runtime_checkable
class PredictionSource(CandleSource, Protocol):
    """A source of candles that also has the predictions of models, read as `model:` and `ensemble:` features."""

    def predictions(
        self, names: Sequence[str], symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime
    ) -> pl.DataFrame:
        """Return point-in-time predictions of models.

        No look-ahead: each value is that of the latest model trained before the bar's close, on data from before that
        training.

        Parameters
        ----------
        names : sequence of str
            Names such as `model:direction`.
        symbols : sequence of str
            Symbols to read.
        timeframe : Timeframe
            Length of the bars.
        start, end : datetime
            Bars with `start <= ts` and `ts + timeframe <= end` (UTC).

        Returns
        -------
        DataFrame
            Columns `symbol`, `ts` and one Float64 per name; null, or no row, without a prediction.

        Raises
        ------
        LookupError
            For a name that no model can have.
        """
        ...


@runtime_checkable
class PositioningSource(Protocol):
    """A source that also has positioning data; without one, the features that read them are null."""

    def positioning(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """Return the positioning data that were known at `start <= ts <= end`.

        Parameters
        ----------
        symbols : sequence of str
            Symbols to read.
        start, end : datetime
            Range (UTC), both ends included.

        Returns
        -------
        DataFrame
            `POSITIONING_SCHEMA`, sorted by (symbol, ts); no rows for a symbol without such data.
        """
        ...


class FrameSource:
    """A `CandleSource` over frames in memory, for notebooks, tests and backtests of loaded data.

    Parameters
    ----------
    candles : dict of Timeframe to DataFrame
        Frames with `CANDLE_SCHEMA`.
    funding : DataFrame, optional
        Frame with `FUNDING_SCHEMA`; none where omitted.
    predictions : dict of Timeframe to DataFrame, optional
        Predictions of models: `symbol`, `ts` and a column for each name, such as `model:direction`.
    marks : DataFrame, optional
        Frame with `MARK_SCHEMA`; none where omitted.
    real_steps : collection of (str, datetime), optional
        Symbol and time of price steps that are market moves; see `features.steps`.
    positioning : DataFrame, optional
        Frame with `POSITIONING_SCHEMA`; none where omitted.
    """

    def __init__(
        self,
        candles: dict[Timeframe, pl.DataFrame],
        funding: pl.DataFrame | None = None,
        predictions: dict[Timeframe, pl.DataFrame] | None = None,
        marks: pl.DataFrame | None = None,
        real_steps: Collection[tuple[str, datetime]] = (),
        positioning: pl.DataFrame | None = None,
    ) -> None:
        self._candles = candles
        self.real_steps = frozenset(real_steps)
        self._predictions = predictions or {}
        self._funding = pl.DataFrame(schema=FUNDING_SCHEMA) if funding is None else funding
        self._marks = pl.DataFrame(schema=MARK_SCHEMA) if marks is None else marks
        self._positioning = pl.DataFrame(schema=POSITIONING_SCHEMA) if positioning is None else positioning

    def candles(
        self, symbols: Sequence[str], timeframe: Timeframe, start: datetime | None, end: datetime
    ) -> pl.DataFrame:
        """See `CandleSource.candles`."""
        frame = self._known(symbols, timeframe)
        closed = frame.filter(pl.col("ts") <= end - bar_length(timeframe))
        return closed if start is None else closed.filter(pl.col("ts") >= start)

    def last_candles(self, symbols: Sequence[str], timeframe: Timeframe, as_of: datetime, count: int) -> pl.DataFrame:
        """See `CandleSource.last_candles`."""
        closed = self.candles(symbols, timeframe, None, as_of)
        return closed.group_by("symbol", maintain_order=True).tail(count).select(closed.columns)

    def funding(self, symbols: Sequence[str], start: datetime | None, end: datetime) -> pl.DataFrame:
        """See `CandleSource.funding`."""
        paid = self._funding.filter(pl.col("symbol").is_in(list(symbols)), pl.col("ts") <= end)
        return paid if start is None else paid.filter(pl.col("ts") >= start)

    def mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `CandleSource.mark_candles`."""
        closed = pl.col("ts").is_between(start, end - bar_length("1m"))
        return self._marks.filter(pl.col("symbol").is_in(list(symbols)), closed)

    def positioning(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `PositioningSource.positioning`."""
        known = pl.col("ts").is_between(start, end)
        return self._positioning.filter(pl.col("symbol").is_in(list(symbols)), known)

    def predictions(
        self, names: Sequence[str], symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime
    ) -> pl.DataFrame:
        """See `PredictionSource.predictions`; raises `LookupError` for names that are not in the frames."""
        frame = self._predictions.get(timeframe)
        missing = [name for name in names if frame is None or name not in frame.columns]
        if frame is None or missing:
            msg = f"no {timeframe} predictions of {', '.join(missing)} in this source; give it predictions={{...}}"
            raise LookupError(msg)
        within = pl.col("ts").is_between(start, end - bar_length(timeframe)) & pl.col("symbol").is_in(list(symbols))
        return frame.filter(within).select("symbol", "ts", *names)

    def _known(self, symbols: Sequence[str], timeframe: Timeframe) -> pl.DataFrame:
        frame = self._candles.get(timeframe)
        if frame is None:
            msg = f"no {timeframe} candles in this source; it has {', '.join(self._candles)}"
            raise LookupError(msg)
        known = set(frame["symbol"].unique())
        unknown = [symbol for symbol in symbols if symbol not in known]
        if unknown:
            msg = f"unknown symbol {', '.join(unknown)}; this source has {', '.join(sorted(known))}"
            raise LookupError(msg)
        return frame.filter(pl.col("symbol").is_in(list(symbols)))
