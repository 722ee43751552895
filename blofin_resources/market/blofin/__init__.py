"""The Blofin exchange's public market data: a client that fails loudly, and the market source over it."""

from blofin_resources.market.blofin.client import PATIENCE, BlofinClient
from blofin_resources.market.blofin.market import BlofinMarket
from blofin_resources.market.blofin.rate_limiter import SharedLimiter

__all__ = ["PATIENCE", "BlofinClient", "BlofinMarket", "SharedLimiter"]
