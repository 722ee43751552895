"""The vocabulary of time and candles that every domain package shares.

Belongs here: timeframes, the schema of candle and funding frames, the protocol through which domain code reads
them, and the arithmetic of bar times. Does not belong here: reading from a store (`blofin_resources`), building
higher timeframes (`backtester.aggregator`), computing anything from prices (`features.registry`).

A bar is named by its opening time and is *closed* at open + timeframe. "As of T" means bars closed at or before T
and funding paid at or before T.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Protocol, runtime_checkable

import polars as pl

Timeframe = Literal["1m", "5m", "60m", "1d"]

TIMEFRAMES: Final[tuple[Timeframe, ...]] = ("1m", "5m", "60m", "1d")
"""Every timeframe for which candles are kept."""

TRADED_TIMEFRAMES: Final[tuple[Timeframe, ...]] = ("1m", "5m", "60m")
"""The timeframes that have features and on which strategies and models trade."""

MINUTES: Final[dict[Timeframe, int]] = {"1m": 1, "5m": 5, "60m": 60, "1d": 1440}
"""Length of one bar, in minutes."""

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


def bar_length(timeframe: Timeframe) -> timedelta:
    """Return the time between a bar's open and its close."""
    return timedelta(minutes=MINUTES[timeframe])


def floor_time(moment: datetime, step: timedelta, epoch: datetime = datetime(1970, 1, 1, tzinfo=UTC)) -> datetime:
    """Return the last point of the grid `epoch + k * step` that is not after `moment`.

    Raises
    ------
    ValueError
        If `moment` has no time zone: every time in this project is UTC and says so.
    """
    if moment.tzinfo is None:
        msg = f"{moment!r} has no time zone; give a UTC time such as 2025-06-12T00:00:00Z"
        raise ValueError(msg)
    return moment - (moment - epoch) % step


class CandleSource(Protocol):
    """Where domain code gets candles and funding from: the warehouse, or plain frames in a test or notebook.

    No look-ahead: every call returns only what was closed or paid at or before `end`.
    """

    def candles(
        self, symbols: Sequence[str], timeframe: Timeframe, start: datetime | None, end: datetime
    ) -> pl.DataFrame:
        """Return the bars with `start <= ts` (from the first where None) and `ts + timeframe <= end`.

        The frame has `CANDLE_SCHEMA`, sorted by (symbol, ts). Missing bars are missing rows. Raises `LookupError`
        for a symbol that the source does not know; a known symbol without bars gives no rows.
        """
        ...

    def last_candles(self, symbols: Sequence[str], timeframe: Timeframe, as_of: datetime, count: int) -> pl.DataFrame:
        """Return the last `count` bars of each symbol closed at or before `as_of`, with `CANDLE_SCHEMA`."""
        ...

    def funding(self, symbols: Sequence[str], start: datetime | None, end: datetime) -> pl.DataFrame:
        """Return the funding paid at `start <= ts <= end`, with `FUNDING_SCHEMA`, sorted by (symbol, ts)."""
        ...

    def mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """Return the 1-minute bars of the mark price with `start <= ts` and `ts + 1 minute <= end`.

        The frame has `MARK_SCHEMA`, sorted by (symbol, ts). A symbol without them has no rows, which is no error:
        liquidations then go by last prices.
        """
        ...


@runtime_checkable
class PredictionSource(CandleSource, Protocol):
    """A source of candles that also knows what models said about them, as `model:` and `ensemble:` features."""

    def predictions(
        self, names: Sequence[str], symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime
    ) -> pl.DataFrame:
        """Return what was predicted at the bars with `start <= ts` and `ts + timeframe <= end`.

        Columns `symbol`, `ts` and one Float64 for each name (`model:direction`); null, or no row, where nothing was.
        No look-ahead: each value is that of the latest model trained before the bar's close, and on data from before
        that training. Raises `LookupError` for a name that no model can have.
        """
        ...


class FrameSource:
    """A `CandleSource` over frames in memory, for notebooks, tests and backtests of data already read.

    Parameters
    ----------
    candles : dict of Timeframe to DataFrame
        Frames with `CANDLE_SCHEMA`.
    funding : DataFrame, optional
        Frame with `FUNDING_SCHEMA`; none where omitted.
    predictions : dict of Timeframe to DataFrame, optional
        What models said: `symbol`, `ts` and a column for each name, such as `model:direction`.
    marks : DataFrame, optional
        Frame with `MARK_SCHEMA`; none where omitted.
    """

    def __init__(
        self,
        candles: dict[Timeframe, pl.DataFrame],
        funding: pl.DataFrame | None = None,
        predictions: dict[Timeframe, pl.DataFrame] | None = None,
        marks: pl.DataFrame | None = None,
    ) -> None:
        self._candles = candles
        self._predictions = predictions or {}
        self._funding = pl.DataFrame(schema=FUNDING_SCHEMA) if funding is None else funding
        self._marks = pl.DataFrame(schema=MARK_SCHEMA) if marks is None else marks

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

    def predictions(
        self, names: Sequence[str], symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime
    ) -> pl.DataFrame:
        """See `PredictionSource.predictions`; raises `LookupError` for what was not given."""
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
