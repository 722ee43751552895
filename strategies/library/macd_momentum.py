"""Trend: the turn of the MACD histogram in a market that moves."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import crossed_above, crossed_below


class MacdMomentum(Strategy):
    """Join the MACD histogram's turn through zero while the trend is strong enough.

    Edge: momentum over a day of bars goes on more often than it turns, once it has turned.
    Fails: in quiet ranges, where the histogram crosses zero for nothing.
    """

    name = "macd_momentum"
    timeframes = ("5m", "60m")
    strength = Param(18.0, 10.0, 35.0)
    stop_width = Param(2.5, 1.0, 5.0)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        up = crossed_above(f.macd_histogram, 0)
        down = crossed_below(f.macd_histogram, 0)
        strong = f.adx_14 > self.strength
        return Signal(
            long_entry=up & strong,
            short_entry=down & strong,
            long_exit=down,
            short_exit=up,
            stop=self.stop_width * f.atr_14 / f.close,
        )
