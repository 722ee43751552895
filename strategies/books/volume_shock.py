"""Volume: a symbol that gets attention is bought."""

from strategies import Book, Features, Param, Weights
from strategies.language import mean


class VolumeShock(Book):
    """Buy where trading rose most against its month, sell where it fell most.

    Edge: unusual volume draws eyes to a coin, and most who look can only buy.
    Fails: where volume comes from a crash or a delisting.
    Source: Gervais, Kaniel & Mingelgrin (2001).
    """

    name = "volume_shock"
    timeframe, rebalance = "60m", "24h"
    hours = Param(24, 8, 96)
    usual = Param(720, 240, 1000)
    share = Param(0.2, 0.05, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        shock = mean(f.quote_volume, self.hours) / mean(f.quote_volume, self.usual)
        return Weights(rank_by=shock, long=self.share, short=self.share, size="inverse_volatility", band=0.2)
