"""Market sources behind one interface: the synthetic exchange, archives on disk, the Blofin exchange.

Belongs here: whatever turns the outside world into candles, funding and instruments, and the checks on these. Does
not belong here: storing them (`blofin_resources.warehouse`), building higher timeframes (`backtester.aggregator`).
"""

from blofin_resources.market.base import INSTRUMENT_SCHEMA, Coverage, Fetched, MarketSource, require_start
from blofin_resources.market.factory import MARKETS, open_market

__all__ = ["INSTRUMENT_SCHEMA", "MARKETS", "Coverage", "Fetched", "MarketSource", "open_market", "require_start"]
