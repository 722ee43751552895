"""Mean reversion: exhaustion beyond a band."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import mean, stdev


class RsiReversion(Strategy):
    """Fade a move that is both far from its mean and exhausted, back to the mean.

    Edge: forced selling and chasing overshoot within hours, and market makers are paid for taking the other side.
    Fails: when news starts a trend, where far becomes farther; the stop then turns many small gains into one loss.
    """

    name = "rsi_reversion"
    timeframes = ("5m", "60m")
    length = Param(14, 7, 28)
    oversold = Param(30.0, 15.0, 40.0)
    window = Param(20, 10, 60)
    width = Param(2.0, 1.0, 3.0)
    stop = Param(0.02, 0.005, 0.05)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        rsi = f.feature("rsi", self.length)
        middle = mean(f.close, self.window)
        band = self.width * stdev(f.close, self.window)
        return Signal(
            long_entry=(rsi < self.oversold) & (f.close < middle - band),
            short_entry=(rsi > 100 - self.oversold) & (f.close > middle + band),
            long_exit=f.close > middle,
            short_exit=f.close < middle,
            stop=self.stop,
            time_stop=48,
        )
