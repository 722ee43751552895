"""Momentum of what the market does not explain."""

from strategies import Book, Features, Param, Weights, across
from strategies.language import maximum, mean


class ResidualMomentum(Book):
    """Buy what rose most beyond its beta to the universe, for its own risk; sell what fell most.

    Edge: a coin's own news is slow to be priced; without the market part the book does not bet on the market going on.
    Fails: when own moves are overreactions. A symbol counts once it has been a member for the whole window.
    Source: Blitz, Huij & Martens (2011).
    """

    name = "residual_momentum"
    timeframe, rebalance = "60m", "24h"
    hours = Param(168, 48, 500)
    share = Param(0.2, 0.05, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        own = f.returns
        market = own - across.demean(own)
        both = mean(own * market, self.hours) - mean(own, self.hours) * mean(market, self.hours)
        spread = mean(market * market, self.hours) - mean(market, self.hours) ** 2
        alone = mean(own, self.hours) - both / spread * mean(market, self.hours)
        rest = mean(own * own, self.hours) - mean(own, self.hours) ** 2 - both**2 / spread
        return Weights(
            rank_by=alone / maximum(rest, 1e-12) ** 0.5,
            long=self.share,
            short=self.share,
            size="inverse_volatility",
            band=0.2,
            keep=1.5,
        )
