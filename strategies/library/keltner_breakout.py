"""Breakout: out of the Keltner channel, with volume behind it."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import crossed_above, crossed_below


class KeltnerBreakout(Strategy):
    """Join a close beyond the Keltner channel and leave at the middle.

    Edge: a move of more than the usual range in one direction draws in those who waited.
    Fails: after news that is priced at once; the breakout is then the end of the move.
    """

    name = "keltner_breakout"
    timeframes = ("5m", "60m")
    length = Param(20, 10, 60)
    volume = Param(1.1, 0.8, 3.0)
    trail = Param(0.02, 0.005, 0.06)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        upper = f.feature("keltner_upper", self.length)
        lower = f.feature("keltner_lower", self.length)
        middle = (upper + lower) / 2
        busy = f.volume_ratio > self.volume
        return Signal(
            long_entry=crossed_above(f.close - upper, 0) & busy,
            short_entry=crossed_below(f.close - lower, 0) & busy,
            long_exit=f.close < middle,
            short_exit=f.close > middle,
            trail=self.trail,
        )
