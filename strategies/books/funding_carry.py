"""Carry: be paid by the crowded side."""

from strategies import Book, Features, Param, Weights
from strategies.language import mean


class FundingCarry(Book):
    """Buy where shorts pay most, sell where longs pay most.

    Edge: leveraged buyers pay for their leverage; whoever stands on the other side earns it while prices stay.
    Fails: when the crowd is right for long, and when a squeeze takes the crowded short.
    Source: Koijen, Moskowitz, Pedersen & Vrugt (2018); Schmeling, Schrimpf & Todorov (2023), "Crypto carry".
    """

    name = "funding_carry"
    timeframe, rebalance = "60m", "24h"
    hours = Param(168, 24, 720)
    share = Param(0.2, 0.05, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        paid = mean(f.funding_rate, self.hours)
        return Weights(rank_by=-paid, long=self.share, short=self.share, size="inverse_volatility", band=0.2, keep=1.5)
