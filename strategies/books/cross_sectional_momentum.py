"""Momentum: symbols that rose most go on rising."""

from strategies import Book, Features, Param, Weights


class CrossSectionalMomentum(Book):
    """Buy what rose most, sell what fell most.

    Edge: news and flows reach a coin slowly, and its buyers come one after another.
    Fails: where the whole market turns: the losers rebound hardest.
    Source: Jegadeesh & Titman (1993); Liu, Tsyvinski & Wu (2022) for cryptocurrencies.
    """

    name = "cross_sectional_momentum"
    timeframe, rebalance = "60m", "24h"
    hours = Param(168, 24, 720)
    share = Param(0.2, 0.05, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        return Weights(rank_by=f.feature("returns", self.hours), long=self.share, short=self.share, band=0.2, keep=1.5)
