"""Volume: a new extreme on a crowd."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import highest, lowest, previous


class VolumeBreakout(Strategy):
    """Join a new extreme that comes with unusual volume and closes near it.

    Edge: a level that breaks on heavy trade has changed hands; the losing side must still get out.
    Fails: when the crowd was the liquidation itself, and nobody is left to follow.
    """

    name = "volume_breakout"
    timeframes = ("5m", "60m")
    window = Param(20, 8, 80)
    volume = Param(1.5, 1.1, 4.0)
    trail = Param(0.015, 0.005, 0.05)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        crowd = f.volume_ratio > self.volume
        return Signal(
            long_entry=crowd & (f.close > previous(highest(f.high, self.window))) & (f.close_location > 0.6),
            short_entry=crowd & (f.close < previous(lowest(f.low, self.window))) & (f.close_location < 0.4),
            trail=self.trail,
            time_stop=48,
        )
