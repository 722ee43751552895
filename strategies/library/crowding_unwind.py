"""Funding: the crowd leaves."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import crossed_above, crossed_below, highest, lowest


class CrowdingUnwind(Strategy):
    """Trade against the side that pays more funding than usual once price turns against it.

    Edge: a leveraged crowd that begins to lose must sell into its own losses.
    Fails: in strong markets, where funding is high for weeks and every dip is bought.
    """

    name = "crowding_unwind"
    timeframes = ("5m", "60m")
    length = Param(21, 9, 60)
    window = Param(24, 8, 100)
    stop_width = Param(3.0, 1.0, 6.0)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        # The middle of the range, not a rolling mean: the rate stands still for hours, and there a mean differs from it
        # by rounding alone, which depends on where the data starts.
        usual = (highest(f.funding_rate, self.window) + lowest(f.funding_rate, self.window)) / 2
        side = f.feature("ema_distance", self.length)
        crowded_long = f.funding_rate >= usual
        crowded_short = f.funding_rate <= usual
        return Signal(
            long_entry=crowded_short & crossed_above(side, 0.001),
            short_entry=crowded_long & crossed_below(side, -0.001),
            long_exit=side < -0.001,
            short_exit=side > 0.001,
            stop=self.stop_width * f.atr_14 / f.close,
        )
