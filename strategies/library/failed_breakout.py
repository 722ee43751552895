"""Mean reversion: the breakout that was none."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import highest, lowest, previous


class FailedBreakout(Strategy):
    """Fade a bar that breaks an old extreme and closes back inside.

    Edge: the stops beyond the extreme have been taken, and those who joined the break are caught.
    Fails: when the second attempt succeeds, which it does in strong trends.
    """

    name = "failed_breakout"
    timeframes = ("5m", "60m")
    window = Param(30, 10, 100)
    stop_width = Param(1.2, 0.5, 3.0)
    reward = Param(2.0, 1.0, 4.0)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        floor = previous(lowest(f.low, self.window))
        ceiling = previous(highest(f.high, self.window))
        width = self.stop_width * f.atr_14 / f.close
        return Signal(
            long_entry=(f.low < floor) & (f.close > floor) & (f.close_location > 0.5),
            short_entry=(f.high > ceiling) & (f.close < ceiling) & (f.close_location < 0.5),
            stop=width,
            target=self.reward * width,
            time_stop=36,
        )
