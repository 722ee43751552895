"""Divergence: price makes a new extreme, strength does not."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import highest, lowest


class RsiDivergence(Strategy):
    """Buy a new low that the relative strength index does not confirm, sell the mirror image.

    Edge: a last push with less force than the one before shows that one side is spent.
    Fails: in strong trends, which diverge many times before they turn.
    """

    name = "rsi_divergence"
    timeframes = ("5m", "60m")
    window = Param(30, 15, 80)
    gap = Param(6.0, 2.0, 15.0)
    stop_width = Param(2.0, 1.0, 4.0)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        low_again = f.low <= lowest(f.low, self.window)
        high_again = f.high >= highest(f.high, self.window)
        return Signal(
            long_entry=low_again & (f.rsi_14 > lowest(f.rsi_14, self.window) + self.gap),
            short_entry=high_again & (f.rsi_14 < highest(f.rsi_14, self.window) - self.gap),
            long_exit=f.rsi_14 > 60,
            short_exit=f.rsi_14 < 40,
            stop=self.stop_width * f.atr_14 / f.close,
            time_stop=48,
        )
