"""A caching source of candles, for runs that read many overlapping windows.

Belongs here: the cache, features over it. Does not belong here: where candles come from
(`blofin_assets.shared.prediction_source`, `Warehouse`), what is computed from them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import polars as pl

from blofin_assets.shared.prediction_source import ModelledSource
from blofin_resources.market.steps import Steps, load_steps
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import Timeframe, bar_length

_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Earlier than any market: the start of a window without one."""


def feature_manager(store: Warehouse, as_of: datetime) -> FeatureManager:
    """Return features as of a time, including predictions of stored models; each range of candles is read once."""
    return FeatureManager(CachedCandleSource(store, as_of), as_of)


class CachedCandleSource:
    """A `features.bars.PredictionSource` as of a time, which reads each range of candles and funding once.

    Parameters
    ----------
    store : Warehouse
        Where it reads.
    as_of : datetime
        Nothing later is read, whatever is requested.
    recorded : bool, optional
        Whether candles are returned as recorded. Otherwise a symbol with an unexplained price step
        (`blofin_resources.market.steps`) has none, and a redenominated one begins at its step.

    Attributes
    ----------
    real_steps : frozenset of (str, datetime)
        Symbol and time of steps that are market moves; see `backtester.evaluation.evaluate.read_market`.
    """

    def __init__(self, store: Warehouse, as_of: datetime, *, recorded: bool = False) -> None:
        self._inner = ModelledSource(store)
        self._as_of = as_of
        self._steps = Steps((), {}, frozenset()) if recorded else load_steps(store, as_of)
        self.real_steps = self._steps.real
        self._held: dict[Timeframe | None, tuple[frozenset[str], datetime, pl.DataFrame]] = {}

    def candles(
        self, symbols: Sequence[str], timeframe: Timeframe, start: datetime | None, end: datetime
    ) -> pl.DataFrame:
        """See `CandleSource.candles`."""
        if start is None:
            return self._steps.kept(self._inner.candles(symbols, timeframe, None, min(end, self._as_of)))
        return _until(self._remembered(symbols, timeframe, start), end - bar_length(timeframe))

    def last_candles(self, symbols: Sequence[str], timeframe: Timeframe, as_of: datetime, count: int) -> pl.DataFrame:
        """See `CandleSource.last_candles`."""
        return self._steps.kept(self._inner.last_candles(symbols, timeframe, min(as_of, self._as_of), count))

    def funding(self, symbols: Sequence[str], start: datetime | None, end: datetime) -> pl.DataFrame:
        """See `CandleSource.funding`."""
        return _until(self._remembered(symbols, None, start or _BEGINNING), end)

    def _remembered(self, symbols: Sequence[str], timeframe: Timeframe | None, start: datetime) -> pl.DataFrame:
        """Return some symbols' candles of a timeframe, or funding, from `start` to the as-of."""
        held = self._held.get(timeframe)
        covered, since = (frozenset(symbols), start) if held is None else (held[0] | set(symbols), min(held[1], start))
        if held is not None and covered == held[0] and since == held[1]:
            frame = held[2]
        else:
            everyone = sorted(covered)
            frame = (
                self._inner.funding(everyone, since, self._as_of)
                if timeframe is None
                else self._steps.kept(self._inner.candles(everyone, timeframe, since, self._as_of))
            )
            frame = frame.rechunk()  # whoever needs it in one piece needs no copy
            self._held[timeframe] = covered, since, frame
        if covered == frozenset(symbols) and since == start:
            return frame  # not a copy: it has all minutes of all symbols
        return frame.filter(pl.col("symbol").is_in(list(symbols)), pl.col("ts") >= start)

    def mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `CandleSource.mark_candles`."""
        return self._inner.mark_candles(symbols, start, min(end, self._as_of))

    def positioning(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        """See `PositioningSource.positioning`."""
        return self._inner.positioning(symbols, start, min(end, self._as_of))

    def predictions(
        self, names: Sequence[str], symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime
    ) -> pl.DataFrame:
        """See `PredictionSource.predictions`."""
        return self._inner.predictions(names, symbols, timeframe, start, min(end, self._as_of))


def _until(frame: pl.DataFrame, last: datetime) -> pl.DataFrame:
    """Return the rows up to a time, without copying them where that is all of them."""
    newest = frame["ts"].max()
    if not isinstance(newest, datetime) or newest <= last:
        return frame
    return frame.filter(pl.col("ts") <= last)
