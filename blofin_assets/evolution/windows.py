"""The search window of a cycle, and the panel on which everything in it is evaluated.

Belongs here: reading it once for all stages of a run. Does not belong here: what windows are for
(`backtester.windows`).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Final

import polars as pl

from backtester.windows import CycleWindows, Window, cycle_windows
from blofin_assets.margin import margin_rules
from blofin_assets.predictions import predictions_for
from blofin_assets.sources import feature_manager
from blofin_resources.warehouse import Warehouse
from features.bars import Timeframe
from features.market import Market
from strategies.base import Strategy
from strategies.evolution.panel import Panel

WARMUP: Final = timedelta(hours=200)
"""History that the slowest feature of the standard set needs: `sma_200` on 60m."""

VALIDATION_DAYS: Final[dict[Timeframe, timedelta]] = {
    "1m": timedelta(days=3),
    "5m": timedelta(days=4),
    "60m": timedelta(days=30),
    "1d": timedelta(days=30),
}
"""History on which a version is validated, once."""

SAMPLE_BARS: Final = 4_000
"""Bars of each timeframe on which untrusted text is first evaluated."""

_FIRST: Final = "SELECT min(day) AS day FROM market.coverage WHERE symbol IN (SELECT unnest(?))"


def windows_of(store: Warehouse, symbols: Sequence[str], as_of: datetime) -> CycleWindows:
    """Return search window and exam of a cycle; no search where the history is too short, with the reason."""
    first = store.read(_FIRST, [list(symbols)])["day"][0]
    begun = datetime.combine(first, time(), UTC) if first is not None else as_of
    return cycle_windows(as_of, begun, WARMUP)


def search_panel(store: Warehouse, symbols: Sequence[str], window: Window, run_id: str) -> Panel:
    """Return the panel of a search window: read once in a run, since its stages follow each other in one process."""
    return _panel(store, tuple(symbols), window, run_id)


def forget_panel() -> None:
    """Give back the memory of the last panel."""
    _panel.cache_clear()


@lru_cache(maxsize=1)
def _panel(store: Warehouse, symbols: tuple[str, ...], window: Window, _run_id: str) -> Panel:
    return Panel.read(
        feature_manager(store, window.end), symbols, window, rules=margin_rules(store, symbols, window.end)
    )


def validation_market(store: Warehouse, symbols: Sequence[str], until: datetime, readers: Sequence[Strategy]) -> Market:
    """Return the days before a time on which strategies are held to the causality test, with all that they read."""
    longest = until - max(VALIDATION_DAYS.values())
    candles = {frame: store.candles(symbols, frame, until - days, until) for frame, days in VALIDATION_DAYS.items()}
    said = predictions_for(readers, store, symbols, until, VALIDATION_DAYS)
    return Market(candles, store.funding(symbols, longest, until), said)


def sample_of(market: Market) -> Market:
    """Return the last bars of a market, for the first evaluation of untrusted text in a child process."""
    first = {
        frame: bars["ts"].unique().sort().tail(SAMPLE_BARS).min() or datetime.min.replace(tzinfo=UTC)
        for frame, bars in market.candles.items()
    }

    def tail(frames: Mapping[Timeframe, pl.DataFrame]) -> dict[Timeframe, pl.DataFrame]:
        return {frame: bars.filter(pl.col("ts") >= first[frame]) for frame, bars in frames.items()}

    return Market(tail(market.candles), market.funding, tail(market.predictions))
