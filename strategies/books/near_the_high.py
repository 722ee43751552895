"""Anchors: a price near its high is not too high."""

from strategies import Book, Features, Param, Weights
from strategies.language import highest


class NearTheHigh(Book):
    """Buy what stands nearest to its high of a month, sell what is furthest below.

    Edge: traders sell at the old high because it is the old high, so good news is priced too late.
    Fails: at sharp reversals of the whole market, like momentum.
    Source: George & Hwang (2004).
    """

    name = "near_the_high"
    timeframe, rebalance = "60m", "24h"
    hours = Param(720, 168, 1000)
    share = Param(0.2, 0.05, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        height = f.close / highest(f.high, self.hours)
        return Weights(rank_by=height, long=self.share, short=self.share, size="inverse_volatility", band=0.2, keep=1.5)
