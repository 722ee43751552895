"""Change of funding: fade the latest rush into leverage."""

from strategies import Book, Features, Param, Weights
from strategies.language import mean


class FundingChange(Book):
    """Sell where funding rose most against its own week, buy where it fell most.

    Edge: a rush of one side into leverage is soon closed again, and moves the price back.
    Fails: at the beginning of a long trend, where leverage builds up for weeks.
    Source: Christin, Routledge, Soska & Zetlin-Jones (2022), "The crypto carry trade".
    """

    name = "funding_change"
    timeframe, rebalance = "60m", "24h"
    hours = Param(24, 8, 72)
    usual = Param(168, 96, 720)
    share = Param(0.2, 0.05, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        rise = mean(f.funding_rate, self.hours) - mean(f.funding_rate, self.usual)
        return Weights(rank_by=-rise, long=self.share, short=self.share, size="inverse_volatility", band=0.2)
