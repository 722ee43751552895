"""Reversal: a trader who must trade at once pays for it."""

from strategies import Book, Features, Param, Weights


class ShortTermReversal(Book):
    """Buy what fell most in a day for its risk, sell what rose most.

    Edge: forced and hurried orders push a coin away from the others, and it comes back.
    Fails: on news: what fell for a reason goes on falling. Its turnover needs low fees.
    Source: Lehmann (1990); Jegadeesh (1990); Nagel (2012).
    """

    name = "short_term_reversal"
    timeframe, rebalance = "60m", "24h"
    hours = Param(24, 4, 72)
    share = Param(0.2, 0.05, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        move = f.feature("risk_adjusted_momentum", self.hours)
        return Weights(rank_by=-move, long=self.share, short=self.share, size="inverse_volatility", band=0.2)
