"""The protocol of a market source, and the request checks that all sources share.

Belongs here: the protocol, the schema of instruments, errors that are the same for every source. Does not belong
here: any one source (`sample`, `archive`, `blofin`), judging candles (`checks`), storing them (the warehouse).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol, runtime_checkable

import polars as pl

from blofin_resources.errors import MarketError
from blofin_resources.suggestions import did_you_mean
from features.bars import (
    CANDLE_SCHEMA,
    FUNDING_SCHEMA,
    MARK_SCHEMA,
    POSITIONING_SCHEMA,
    TS,
    PositioningSource,
    Timeframe,
)

Clock = Callable[[], datetime]
"""Tells the present moment, in UTC."""

INSTRUMENT_SCHEMA: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "as_of": TS,
        "base_currency": pl.String(),
        "quote_currency": pl.String(),
        "contract_value": pl.Float64(),
        "tick_size": pl.Float64(),
        "lot_size": pl.Float64(),
        "min_size": pl.Float64(),
        "max_leverage": pl.Float64(),
        "maintenance_margin_rate": pl.Float64(),
        "taker_fee": pl.Float64(),
        "maker_fee": pl.Float64(),
        "list_time": TS,
        "state": pl.String(),
        "origin": pl.String(),
    }
)
"""One instrument as it stood at `as_of`.

`contract_value` in base units; `tick_size` in quote currency; `lot_size` and `min_size` in contracts; rates and fees
as fractions of notional; null where the source does not say.
"""


LISTING_SCHEMA: Final = pl.Schema({"symbol": pl.String(), "list_time": TS, "delist_time": TS, "state": pl.String()})
"""Symbols of which a source can give bars of an hour or a day, sorted by symbol.

`list_time` when trading began, or the first bar where only bars are known; `delist_time` when it ended; both null where
unknown. `state` is `DELISTED`, or what the source calls a traded instrument.
"""

DELISTED: Final = "delisted"
"""State of an instrument that a source had and has no more, or whose trading has ended."""


class NotBegunError(MarketError):
    """The range ends before the first candle."""


class Coverage(NamedTuple):
    """The range for which a source can have candles of a symbol.

    `first` is the opening time of the first bar, `through` the close of the last one known to be available.
    """

    first: datetime
    through: datetime


class Fetched(NamedTuple):
    """Rows that were fetched, and in `failures` the error of each symbol that has no rows in `frame`."""

    frame: pl.DataFrame
    failures: dict[str, MarketError]

    def require_all(self) -> pl.DataFrame:
        """Return the frame; raise one `MarketError` that names every failed symbol, each cause once."""
        if self.failures:
            alike: dict[str, list[str]] = {}
            for symbol, error in sorted(self.failures.items()):
                alike.setdefault(str(error), []).append(symbol)
            msg = "; ".join(f"{', '.join(symbols)}: {text}" for text, symbols in alike.items())
            raise MarketError(msg)
        return self.frame


class MarketSource(Protocol):
    """A provider of candles, funding and instruments.

    No look-ahead: `candles` returns only bars closed by `end`, and `funding` only payments made by `end`. Nothing
    is filled in: a bar that the source does not have is a missing row.
    """

    @property
    def name(self) -> str:
        """What candles of this source carry as `origin`, such as `archive`."""
        ...

    @property
    def identity(self) -> str:
        """Text that tells this market from every other; a warehouse holds one identity only."""
        ...

    @property
    def synthetic(self) -> bool:
        """Whether the prices are made up; reports and pages must then say so."""
        ...

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol that the source knows, sorted."""
        ...

    def instruments(self, symbols: Sequence[str], as_of: datetime) -> pl.DataFrame:
        """Return one row per symbol with `INSTRUMENT_SCHEMA`, as it stood at `as_of` as far as the source knows."""
        ...

    def listings(self) -> pl.DataFrame:
        """Return every symbol that has bars of an hour or a day, with `LISTING_SCHEMA`.

        Delisted symbols are included where the source still has their bars.
        """
        ...

    def candles(self, symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime) -> pl.DataFrame:
        """Return the bars of a timeframe with `start <= ts` and `ts + timeframe <= end`.

        Each timeframe is requested as such where the source has it, not made from shorter bars. `minutes` is then the
        length of the bar.

        Parameters
        ----------
        symbols : sequence of str
            Symbols to read.
        timeframe : Timeframe
            Length of the bars.
        start, end : datetime
            Range (UTC); bars not closed by `end` are left out.

        Returns
        -------
        DataFrame
            `CANDLE_SCHEMA`, sorted by (symbol, ts).

        Raises
        ------
        MarketError
            For an unknown symbol, or if `end` lies before the first candle of every requested symbol.
        """
        ...

    def funding(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """Return the funding paid at `start <= ts <= end`.

        Parameters
        ----------
        symbols : sequence of str
            Symbols to read.
        start, end : datetime
            Range (UTC), both ends included.

        Returns
        -------
        DataFrame
            `FUNDING_SCHEMA`, sorted by (symbol, ts); no rows from a source without funding.

        Raises
        ------
        MarketError
            For an unknown symbol.
        """
        ...

    def mark_candles_1m(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """Return the 1-minute bars of the mark price in the range of `candles`.

        Parameters
        ----------
        symbols : sequence of str
            Symbols to read.
        start, end : datetime
            Range (UTC); bars not closed by `end` are left out.

        Returns
        -------
        DataFrame
            `MARK_SCHEMA`, sorted by (symbol, ts); no rows from a source without mark prices.

        Raises
        ------
        MarketError
            For an unknown symbol.
        """
        ...

    def shortest(self, symbol: str) -> Timeframe:
        """Return the timeframe of the shortest bars of `symbol`: longer ones are made of them, shorter ones never."""
        ...

    def coverage(self, symbol: str) -> Coverage:
        """Return the range for which candles of `symbol` can be requested."""
        ...

    def first_ts(self, symbol: str) -> datetime:
        """Return the opening time of the symbol's first candle."""
        ...


@runtime_checkable
class HasPositioning(PositioningSource, Protocol):
    """A source that also has positioning data; most have none."""

    def positioned(self) -> Mapping[str, datetime | None]:
        """Return the symbols that have positioning data, sorted, and the time of the last ones.

        None where the source cannot tell: asking for the data says why.
        """
        ...


def utc_now() -> datetime:
    """Return the current time in UTC: the default clock of sources that grow with time."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """Return `moment` as messages show it.

    Examples
    --------
    >>> iso(datetime(2025, 6, 12, tzinfo=UTC))
    '2025-06-12T00:00Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def require_known(symbols: Sequence[str], known: Iterable[str], where: str) -> None:
    """Refuse symbols that a source does not have.

    Parameters
    ----------
    symbols : sequence of str
        Requested symbols.
    known : iterable of str
        Available symbols.
    where : str
        Name of the source in the message.

    Raises
    ------
    MarketError
        If a symbol is not among `known`, or none is requested.
    """
    available = ", ".join(sorted(known)) or "none"
    if not symbols:
        msg = f"no symbols requested from {where}; it has: {available}"
        raise MarketError(msg)
    unknown = [symbol for symbol in symbols if symbol not in known]
    if unknown:
        hint = did_you_mean(unknown, sorted(known))
        msg = f"unknown symbol {', '.join(unknown)} in {where}{hint}; it has: {available}"
        raise MarketError(msg)


def require_range(start: datetime, end: datetime) -> None:
    """Refuse a range that is not in UTC or ends before it starts.

    Parameters
    ----------
    start, end : datetime
        The range.

    Raises
    ------
    MarketError
        If a time has no zone, or `start` is after `end`.
    """
    for moment in (start, end):
        if moment.tzinfo is None:
            msg = f"{moment!r} has no time zone; give a UTC time such as 2025-06-12T00:00:00Z"
            raise MarketError(msg)
    if start > end:
        msg = f"the requested range starts at {iso(start)}, after its end {iso(end)}"
        raise MarketError(msg)


def require_start(source: MarketSource, symbols: Sequence[str], start: datetime) -> None:
    """Refuse a start before the first candle of every symbol.

    A symbol listed later than others is not an error: its missing bars are a gap of kind `not_yet_listed`.

    Parameters
    ----------
    source : MarketSource
        The source to ask.
    symbols : sequence of str
        Requested symbols.
    start : datetime
        Requested start (UTC).

    Raises
    ------
    MarketError
        If `start` lies before the first candle of each of `symbols`.
    """
    first = {symbol: source.first_ts(symbol) for symbol in symbols}
    earliest = min(first.values())
    if start < earliest:
        found = ", ".join(f"{symbol} from {iso(moment)}" for symbol, moment in sorted(first.items()))
        msg = f"{iso(start)} is before the first candle of {source.name} ({found}); start at {iso(earliest)} or later"
        raise MarketError(msg)


def require_begun(first: dict[str, datetime], end: datetime, where: str) -> None:
    """Refuse a range that ends before the first candle of every symbol.

    Parameters
    ----------
    first : dict of str to datetime
        First candle by symbol.
    end : datetime
        End of the range (UTC).
    where : str
        Name of the source in the message.

    Raises
    ------
    NotBegunError
        If `end` is not after the earliest first candle.
    """
    earliest = min(first.values())
    if end <= earliest:
        msg = f"{where} has no candles up to {iso(end)} for {', '.join(first)}; the first opens at {iso(earliest)}"
        raise NotBegunError(msg)


def no_candles() -> pl.DataFrame:
    """Return an empty frame with `CANDLE_SCHEMA`."""
    return pl.DataFrame(schema=CANDLE_SCHEMA)


def no_funding() -> pl.DataFrame:
    """Return an empty frame with `FUNDING_SCHEMA`."""
    return pl.DataFrame(schema=FUNDING_SCHEMA)


def no_positioning() -> pl.DataFrame:
    """Return an empty frame with `POSITIONING_SCHEMA`."""
    return pl.DataFrame(schema=POSITIONING_SCHEMA)


def no_marks() -> pl.DataFrame:
    """Return an empty frame with `MARK_SCHEMA`."""
    return pl.DataFrame(schema=MARK_SCHEMA)
