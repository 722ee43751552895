"""Breakout: a new extreme out of a quiet market."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import highest, lowest, previous


class DonchianBreakout(Strategy):
    """Join a close beyond the extremes of the last bars while volatility grows, and trail it.

    Edge: stops and momentum orders rest beyond recent extremes, so a break feeds itself.
    Fails: when breaks are bought only to be sold, in thin hours and in ranges; then it buys the high of each swing.
    """

    name = "donchian_breakout"
    timeframes = ("5m", "60m")
    window = Param(40, 10, 100)
    exit_window = Param(15, 5, 50)
    calm = Param(48, 20, 100)
    trail = Param(0.02, 0.005, 0.06)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        waking = f.atr_14 > previous(f.atr_14, self.calm)
        return Signal(
            long_entry=(f.close > previous(highest(f.high, self.window))) & waking,
            short_entry=(f.close < previous(lowest(f.low, self.window))) & waking,
            long_exit=f.close < previous(lowest(f.low, self.exit_window)),
            short_exit=f.close > previous(highest(f.high, self.exit_window)),
            trail=self.trail,
        )
