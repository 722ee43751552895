"""Trend: Wilder's directional movement."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import crossed_above, rising


class DirectionalMovement(Strategy):
    """Follow the crossing of the directional lines while the trend index rises.

    Edge: a range that extends on one side only is a one-sided market.
    Fails: after spikes, which extend the range once and then hold the lines apart.
    """

    name = "directional_movement"
    timeframes = ("5m", "60m")
    strength = Param(18.0, 10.0, 35.0)
    stop_width = Param(2.5, 1.0, 5.0)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        up = crossed_above(f.plus_di_14 - f.minus_di_14, 0)
        down = crossed_above(f.minus_di_14 - f.plus_di_14, 0)
        moving = (f.adx_14 > self.strength) | rising(f.adx_14, 2)
        return Signal(
            long_entry=up & moving,
            short_entry=down & moving,
            long_exit=down,
            short_exit=up,
            stop=self.stop_width * f.atr_14 / f.close,
            time_stop=72,
        )
