"""The search window of a cycle, and the panel on which everything in it is evaluated.

Belongs here: reading it once for all stages of a run. Does not belong here: the definition of windows
(`backtester.statistics.windows`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Final

import polars as pl

from backtester.statistics.windows import CycleWindows, Window, cycle_windows, holds_long
from blofin_assets.shared.candle_cache import feature_manager
from blofin_assets.shared.margin_rules import margin_rules
from blofin_assets.shared.memory import give_back_memory
from blofin_assets.shared.prediction_source import predictions_for
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features.bars import Timeframe
from features.market import Market
from strategies.language.strategy import Strategy
from strategies.search.panel import Panel

WARMUP: Final = timedelta(hours=200)
"""History that the slowest standard feature needs: `sma_200` on 60m."""

LONG_TIMEFRAMES: Final[tuple[Timeframe, ...]] = ("4h", "1d")
"""Bars of the strategies that hold their positions for days."""

LONG_WARMUP: Final = timedelta(hours=800)
"""The same on 4h. On days it would be 200 days; what a strategy reads there is null until it is known."""

VALIDATION_DAYS: Final[dict[Timeframe, timedelta]] = {
    "1m": timedelta(days=3),
    "5m": timedelta(days=4),
    "15m": timedelta(days=12),
    "60m": timedelta(days=30),
    "4h": timedelta(days=120),
    "1d": timedelta(days=400),
}
"""History on which a version is validated."""

SAMPLE_BARS: Final = 4_000
"""Bars of each timeframe for the first evaluation of untrusted text."""

_FIRST: Final = "SELECT min(day) AS day FROM market.coverage WHERE symbol IN (SELECT unnest(?))"


@dataclass(frozen=True)
class HoldingWindows:
    """The windows of a cycle, by how long positions are held.

    Attributes
    ----------
    short : CycleWindows
        Of strategies on bars of up to an hour.
    long : CycleWindows
        Of strategies on 4h and 1d alone.
    """

    short: CycleWindows
    long: CycleWindows

    def of(self, timeframes: Iterable[Timeframe]) -> CycleWindows:
        """Return the windows of a strategy that is scored on these timeframes."""
        return self.long if holds_long(timeframes) else self.short


def windows_of(store: Warehouse, symbols: Sequence[str], as_of: datetime) -> HoldingWindows:
    """Return the search windows and holdouts of a cycle; no search, with the reason, if the history is too short.

    Parameters
    ----------
    store : Warehouse
        Where candles are stored.
    symbols : sequence of str
        Symbols of the cycle.
    as_of : datetime
        As-of of the cycle.

    Returns
    -------
    HoldingWindows
        Search window and holdout of short and of long holdings.
    """
    first = store.read(_FIRST, [list(symbols)])["day"][0]
    begun = datetime.combine(first, time(), UTC) if first is not None else as_of
    return HoldingWindows(cycle_windows(as_of, begun, WARMUP), cycle_windows(as_of, begun, LONG_WARMUP, long=True))


def search_panel(store: Warehouse, symbols: Sequence[str], window: Window, run_id: str, *, long: bool = False) -> Panel:
    """Return the evaluation panel of a search window, read once per run because its stages share one process.

    Parameters
    ----------
    store : Warehouse
        Where candles are stored.
    symbols : sequence of str
        Symbols of the cycle.
    window : Window
        The search window.
    run_id : str
        The run; another run reads the data again.
    long : bool
        Whether it is for strategies that hold for days: it has their bars alone.

    Returns
    -------
    Panel
        In-sample evaluator with cached features.
    """
    return _panel(store, tuple(symbols), window, run_id, LONG_TIMEFRAMES if long else None)


def panel_of(
    store: Warehouse, symbols: Sequence[str], windows: HoldingWindows, strategy: Strategy, run_id: str
) -> Panel:
    """Return the evaluation panel of the search window that is a strategy's own.

    Parameters
    ----------
    store : Warehouse
        Where candles are stored.
    symbols : sequence of str
        Symbols of the cycle.
    windows : HoldingWindows
        Of the cycle.
    strategy : Strategy
        Its timeframes decide.
    run_id : str
        As for `search_panel`.

    Returns
    -------
    Panel
        In-sample evaluator with cached features.

    Raises
    ------
    BlofinError
        If the history is too short for such a window.
    """
    own = windows.of(strategy.timeframes)
    if own.search is None:
        msg = f"{strategy.name} on {', '.join(strategy.timeframes)}: {own.reason}; begin earlier with BLOFIN_START"
        raise BlofinError(msg)
    return search_panel(store, symbols, own.search, run_id, long=own is windows.long)


def forget_panel() -> None:
    """Free the memory of the last panels."""
    _panel.cache_clear()
    give_back_memory()


@lru_cache(maxsize=2)
def _panel(
    store: Warehouse,
    symbols: tuple[str, ...],
    window: Window,
    _run_id: str,
    timeframes: tuple[Timeframe, ...] | None,
) -> Panel:
    rules = margin_rules(store, symbols, window.end)
    return Panel.read(feature_manager(store, window.end), symbols, window, timeframes=timeframes, rules=rules)


def validation_market(store: Warehouse, symbols: Sequence[str], until: datetime, readers: Sequence[Strategy]) -> Market:
    """Return the data for look-ahead tests of strategies: some days before a time, with everything they read.

    Parameters
    ----------
    store : Warehouse
        Where candles are stored.
    symbols : sequence of str
        Symbols of the cycle.
    until : datetime
        End of the data (UTC).
    readers : sequence of Strategy
        Strategies to test.

    Returns
    -------
    Market
        Candles, funding, predictions and positioning data.
    """
    longest = until - max(VALIDATION_DAYS.values())
    candles = {frame: store.candles(symbols, frame, until - days, until) for frame, days in VALIDATION_DAYS.items()}
    predictions = predictions_for(readers, store, symbols, until, VALIDATION_DAYS)
    held = store.positioning(symbols, longest, until)
    return Market(candles, store.funding(symbols, longest, until), predictions, positioning=held)


def sample_of(market: Market) -> Market:
    """Return the last bars of a market, for the first evaluation of untrusted text in a child process."""
    first = {
        frame: bars["ts"].unique().sort().tail(SAMPLE_BARS).min() or datetime.min.replace(tzinfo=UTC)
        for frame, bars in market.candles.items()
    }

    def tail(frames: Mapping[Timeframe, pl.DataFrame]) -> dict[Timeframe, pl.DataFrame]:
        return {frame: bars.filter(pl.col("ts") >= first[frame]) for frame, bars in frames.items()}

    return replace(market, candles=tail(market.candles), predictions=tail(market.predictions))
