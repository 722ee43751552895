"""The embedded synthetic exchange: a market to try everything on, and two to calibrate against."""

from blofin_resources.market.sample.market import SampleMarket, Variant

__all__ = ["SampleMarket", "Variant"]
