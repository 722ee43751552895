"""Trend: each symbol against its own past."""

from strategies import Book, Features, Param, Weights
from strategies.language import maximum, minimum


class TimeSeriesTrend(Book):
    """Hold each symbol in the direction of its own trend, the quieter the more of it.

    Edge: trends of a whole market last longer than most can wait; this book may be long or short of everything.
    Fails: in markets without direction, and at the turn.
    Source: Moskowitz, Ooi & Pedersen (2012).
    """

    name = "time_series_trend"
    timeframe, rebalance = "60m", "24h"
    hours = Param(336, 48, 1000)
    risk = Param(0.0004, 0.0001, 0.002)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        trend = f.feature("risk_adjusted_momentum", self.hours)
        size = self.risk / f.feature("realized_volatility", self.hours)
        return Weights(weights=minimum(maximum(trend, -1), 1) * minimum(size, 0.2), gross_limit=1.0, band=0.2)
