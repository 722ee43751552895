"""Momentum in units of risk."""

from strategies import Book, Features, Param, Weights


class VolatilityScaledMomentum(Book):
    """Buy what rose most for its risk, sell what fell most.

    Edge: flows into winners are slow; by its own volatility a quiet rise counts more than a lucky jump.
    Fails: at sharp reversals of the whole market.
    Source: Barroso & Santa-Clara (2015); Moskowitz, Ooi & Pedersen (2012).
    """

    name = "volatility_scaled_momentum"
    timeframe, rebalance = "60m", "24h"
    hours = Param(168, 24, 720)
    share = Param(0.2, 0.05, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        momentum = f.feature("risk_adjusted_momentum", self.hours)
        return Weights(
            rank_by=momentum, long=self.share, short=self.share, size="inverse_volatility", band=0.2, keep=1.5
        )
