"""What every market source promises, and the checks of a request that they share.

Belongs here: the protocol, the schema of instruments, refusals that are the same for every source. Does not belong
here: any one source (`sample`, `archive`, `blofin`), judging candles (`checks`), storing them (the warehouse).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

import polars as pl

from blofin_resources.errors import MarketError
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MARK_SCHEMA, TS

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


DELISTED: Final = "delisted"
"""State of an instrument that a source had and has no more."""


class Coverage(NamedTuple):
    """The stretch for which a source can have candles of a symbol.

    `first` is the opening time of the first bar, `through` the close of the last one known to be available.
    """

    first: datetime
    through: datetime


class Fetched(NamedTuple):
    """What came, and what did not: `failures` holds the error of each symbol that has no rows in `frame`."""

    frame: pl.DataFrame
    failures: dict[str, MarketError]

    def require_all(self) -> pl.DataFrame:
        """Return the frame; raise one `MarketError` that names every symbol that failed, each cause once."""
        if self.failures:
            alike: dict[str, list[str]] = {}
            for symbol, error in sorted(self.failures.items()):
                alike.setdefault(str(error), []).append(symbol)
            msg = "; ".join(f"{', '.join(symbols)}: {text}" for text, symbols in alike.items())
            raise MarketError(msg)
        return self.frame


class MarketSource(Protocol):
    """A place that candles, funding and instruments come from.

    No look-ahead: `candles_1m` gives only bars closed by `end`, `funding` only what was paid by `end`, and nothing is
    filled in: a minute that the source does not have is a missing row.
    """

    @property
    def name(self) -> str:
        """What candles of this source carry as `origin`: `sample`, `archive` or `blofin`."""
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
        """Return one row a symbol with `INSTRUMENT_SCHEMA`, as it stood at `as_of` as far as the source knows."""
        ...

    def candles_1m(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """Return the 1-minute bars with `start <= ts` and `ts + 1 minute <= end`.

        The frame has `CANDLE_SCHEMA`, sorted by (symbol, ts). Raises `MarketError` for an unknown symbol and where
        `end` lies before the first candle of every symbol asked.
        """
        ...

    def funding(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """Return the funding paid at `start <= ts <= end` with `FUNDING_SCHEMA`, sorted by (symbol, ts)."""
        ...

    def mark_candles_1m(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """Return the 1-minute bars of the mark price, in the range of `candles_1m`, with `MARK_SCHEMA`.

        Sorted by (symbol, ts). A source that has none gives no rows; an unknown symbol is refused as elsewhere.
        """
        ...

    def coverage(self, symbol: str) -> Coverage:
        """Return the stretch for which candles of `symbol` can be asked."""
        ...

    def first_ts(self, symbol: str) -> datetime:
        """Return the opening time of the symbol's first candle."""
        ...


def utc_now() -> datetime:
    """Return the present moment in UTC: the default clock of sources that grow with time."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """Return `moment` as it is written in messages: `2025-06-12T00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def require_known(symbols: Sequence[str], known: Iterable[str], where: str) -> None:
    """Raise `MarketError` where a symbol is not among `known`, or where none is asked.

    Parameters
    ----------
    symbols : sequence of str
        What is asked.
    known : iterable of str
        What there is.
    where : str
        The source, as it is named in the message.
    """
    available = ", ".join(sorted(known)) or "none"
    if not symbols:
        msg = f"no symbols asked of {where}; it has: {available}"
        raise MarketError(msg)
    unknown = [symbol for symbol in symbols if symbol not in known]
    if unknown:
        msg = f"unknown symbol {', '.join(unknown)} in {where}; it has: {available}"
        raise MarketError(msg)


def require_range(start: datetime, end: datetime) -> None:
    """Raise `MarketError` unless both times say that they are UTC and `start` is not after `end`."""
    for moment in (start, end):
        if moment.tzinfo is None:
            msg = f"{moment!r} has no time zone; give a UTC time such as 2025-06-12T00:00:00Z"
            raise MarketError(msg)
    if start > end:
        msg = f"the range asked starts at {iso(start)}, after its end {iso(end)}"
        raise MarketError(msg)


def require_start(source: MarketSource, symbols: Sequence[str], start: datetime) -> None:
    """Raise `MarketError` where `start` lies before the first candle of every one of `symbols`.

    A symbol listed later than others is no error: its missing bars are a gap of kind 'not yet listed'.
    """
    first = {symbol: source.first_ts(symbol) for symbol in symbols}
    earliest = min(first.values())
    if start < earliest:
        found = ", ".join(f"{symbol} from {iso(moment)}" for symbol, moment in sorted(first.items()))
        msg = f"{iso(start)} is before the first candle of {source.name} ({found}); start at {iso(earliest)} or later"
        raise MarketError(msg)


def require_begun(first: dict[str, datetime], end: datetime, where: str) -> None:
    """Raise `MarketError` where a range that ends at `end` lies wholly before every first candle."""
    earliest = min(first.values())
    if end <= earliest:
        msg = f"{where} has no candles up to {iso(end)} for {', '.join(first)}; the first opens at {iso(earliest)}"
        raise MarketError(msg)


def no_candles() -> pl.DataFrame:
    """Return an empty frame with `CANDLE_SCHEMA`."""
    return pl.DataFrame(schema=CANDLE_SCHEMA)


def no_funding() -> pl.DataFrame:
    """Return an empty frame with `FUNDING_SCHEMA`."""
    return pl.DataFrame(schema=FUNDING_SCHEMA)


def no_marks() -> pl.DataFrame:
    """Return an empty frame with `MARK_SCHEMA`."""
    return pl.DataFrame(schema=MARK_SCHEMA)
