"""Trend: moving-average crossover with a volatility stop."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import crossed_above, crossed_below


class EmaCrossover(Strategy):
    """Follow the fast average across the slow one, and leave when it comes back.

    Edge: flows into and out of a market last longer than a bar, so a move that has begun tends to go on.
    Fails: in a range, where each crossing is late and its reversal comes at once; costs grow with every whipsaw.
    """

    name = "ema_crossover"
    timeframes = ("5m", "60m")
    fast = Param(9, 5, 30)
    ratio = Param(3, 2, 6)
    stop_width = Param(3.0, 1.0, 6.0)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        fast = f.feature("ema", self.fast)
        slow = f.feature("ema", self.fast * self.ratio)
        up = crossed_above(fast, slow)
        down = crossed_below(fast, slow)
        return Signal(
            long_entry=up, short_entry=down, long_exit=down, short_exit=up, stop=self.stop_width * f.atr_14 / f.close
        )
