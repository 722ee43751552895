"""Lottery: a symbol that has just jumped is too expensive."""

from strategies import Book, Features, Param, Weights
from strategies.language import highest


class Lottery(Book):
    """Sell what had the largest single day of the last week, buy what had the smallest.

    Edge: gamblers pay for a chance of another jump.
    Fails: in a mania, where one jump follows the other.
    Source: Bali, Cakici & Whitelaw (2011).
    """

    name = "lottery"
    timeframe, rebalance = "60m", "24h"
    hours = Param(168, 48, 720)
    share = Param(0.4, 0.1, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        best = highest(f.returns_24, self.hours)
        return Weights(
            rank_by=-best,
            long=self.share,
            short=self.share,
            size="inverse_volatility",
            neutral="beta",
            band=0.2,
        )
