"""Liquidity: a symbol that became easier to trade goes on rising."""

from strategies import Book, Features, Param, Weights


class WeeklyLiquidityShock(Book):
    """Buy what became easier to trade against its month, sell what became harder.

    Edge: traders underreact to a change of liquidity, which few look at.
    Fails: in every flight to safety, and at a size that the thin leg cannot take: look at its capacity.
    Source: Bali, Peng, Shen & Tang (2014), on the measure of Amihud (2002).
    """

    name = "weekly_liquidity_shock"
    timeframe, rebalance = "60m", "7d"
    hours = Param(96, 24, 336)
    usual = Param(720, 360, 1000)
    share = Param(0.25, 0.1, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        harder = f.feature("illiquidity", self.hours) / f.feature("illiquidity", self.usual)
        return Weights(rank_by=-harder, long=self.share, short=self.share, size="inverse_volatility", band=0.2)
