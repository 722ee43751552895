"""Trend: how long ago was the extreme."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import crossed_above, crossed_below


class AroonTrend(Strategy):
    """Follow the side whose extreme is the more recent one.

    Edge: new highs that keep coming are demand that is not yet filled.
    Fails: in ranges of about the window's length, where the newest extreme is the wrong one.
    """

    name = "aroon_trend"
    timeframes = ("5m", "60m")
    window = Param(25, 10, 60)
    level = Param(50.0, 20.0, 80.0)
    trail = Param(0.025, 0.008, 0.06)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        side = f.feature("aroon_oscillator", self.window)
        return Signal(
            long_entry=crossed_above(side, self.level),
            short_entry=crossed_below(side, -self.level),
            long_exit=side < 0,
            short_exit=side > 0,
            trail=self.trail,
        )
