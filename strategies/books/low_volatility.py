"""Low volatility: quiet symbols are too cheap."""

from strategies import Book, Features, Param, Weights


class LowVolatility(Book):
    """Buy the quiet half by rank, sell the wild half, with equal betas.

    Edge: who may not borrow buys wild coins in place of leverage, and pays too much for them.
    Fails: in a rush for the wildest: the short leg then rises several times as far.
    Source: Frazzini & Pedersen (2014); Ang, Hodrick, Xing & Zhang (2006).
    """

    name = "low_volatility"
    timeframe, rebalance = "60m", "24h"
    hours = Param(168, 24, 720)
    share = Param(0.5, 0.1, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        return Weights(
            rank_by=-f.feature("realized_volatility", self.hours),
            long=self.share,
            short=self.share,
            size="rank",
            neutral="beta",
            band=0.2,
        )
