"""Momentum: a thrust beyond the usual channel."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import crossed_above, crossed_below


class CciThrust(Strategy):
    """Join the commodity channel index through its outer line and leave at zero.

    Edge: leaving the channel is rare enough to be a decision of somebody.
    Fails: in wide ranges, where the outer line is the turning point.
    """

    name = "cci_thrust"
    timeframes = ("5m", "60m")
    line = Param(120.0, 80.0, 200.0)
    stop = Param(0.015, 0.005, 0.04)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        return Signal(
            long_entry=crossed_above(f.cci_20, self.line),
            short_entry=crossed_below(f.cci_20, -self.line),
            long_exit=f.cci_20 < 0,
            short_exit=f.cci_20 > 0,
            stop=self.stop,
        )
