"""The Blofin exchange's public market data: a client that fails loudly, and the market source over it."""

from blofin_resources.market.blofin.client import PATIENCE, BlofinClient
from blofin_resources.market.blofin.limit import SharedLimiter
from blofin_resources.market.blofin.market import BlofinMarket

__all__ = ["PATIENCE", "BlofinClient", "BlofinMarket", "SharedLimiter"]
