"""Market sources behind one interface: the synthetic exchange, archives on disk, the Blofin exchange.

Belongs here: whatever turns the outside world into candles, funding and instruments, and the checks on these. Does
not belong here: storing them (`blofin_resources.warehouse`), building higher timeframes (`backtester.resampling`).
"""

from blofin_resources.market.registry import MARKETS, is_synthetic, open_market
from blofin_resources.market.source import INSTRUMENT_SCHEMA, Coverage, Fetched, MarketSource, require_start

__all__ = [
    "INSTRUMENT_SCHEMA",
    "MARKETS",
    "Coverage",
    "Fetched",
    "MarketSource",
    "is_synthetic",
    "open_market",
    "require_start",
]
