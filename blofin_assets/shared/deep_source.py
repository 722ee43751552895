"""Deep history as a source of candles for features: hours, 4h and days of the universe's symbols.

Belongs here: the protocol of `features.bars.CandleSource` over deep history. Does not belong here: its tables
(`blofin_assets.shared.deep_market`), candles of the traded symbols (`blofin_assets.shared.candle_cache`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import polars as pl

from blofin_assets.shared.deep_market import stored_bars, stored_funding
from blofin_resources.warehouse import Warehouse
from features.bars import MARK_SCHEMA, Timeframe

DEEP: Final[tuple[Timeframe, ...]] = ("60m", "4h", "1d")
"""Timeframes of deep history."""

_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class DeepSource:
    """A `features.bars.CandleSource`, with positioning data, over deep history as of a time.

    Parameters
    ----------
    store : Warehouse
        Where it reads.
    as_of : datetime
        Nothing later is read, whatever is requested (UTC).
    """

    def __init__(self, store: Warehouse, as_of: datetime) -> None:
        self._store = store
        self._as_of = as_of

    def candles(
        self, symbols: Sequence[str], timeframe: Timeframe, start: datetime | None, end: datetime
    ) -> pl.DataFrame:
        """See `CandleSource.candles`."""
        if timeframe not in DEEP:
            msg = f"deep history has no bars of {timeframe}; it has {', '.join(DEEP)}"
            raise LookupError(msg)
        return stored_bars(self._store, symbols, timeframe, start or _BEGINNING, min(end, self._as_of))

    def last_candles(self, symbols: Sequence[str], timeframe: Timeframe, as_of: datetime, count: int) -> pl.DataFrame:
        """See `CandleSource.last_candles`."""
        frame = self.candles(symbols, timeframe, None, as_of)
        return frame.group_by("symbol", maintain_order=True).tail(count).select(frame.columns)

    def funding(self, symbols: Sequence[str], start: datetime | None, end: datetime) -> pl.DataFrame:
        """See `CandleSource.funding`."""
        return stored_funding(self._store, symbols, start or _BEGINNING, min(end, self._as_of))

    def mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `CandleSource.mark_candles`: deep history has none."""
        del symbols, start, end
        return pl.DataFrame(schema=MARK_SCHEMA)

    def positioning(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `features.bars.PositioningSource.positioning`."""
        return self._store.positioning(symbols, start, min(end, self._as_of))
