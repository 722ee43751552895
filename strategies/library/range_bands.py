"""Mean reversion: from edge to middle in a range."""

from strategies import Features, Param, Signal, Strategy


class RangeBands(Strategy):
    """Buy the lower band and sell the upper one while the market ranges.

    Edge: in a range inventory is managed around its middle.
    Fails: on the one break that ends the range.
    """

    name = "range_bands"
    timeframes = ("5m", "60m")
    edge = Param(0.08, -0.1, 0.25)
    wander = Param(0.3, 0.1, 0.5)
    stop = Param(0.012, 0.003, 0.04)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        place = f.bbands_percent
        ranging = f.efficiency_ratio_20 < self.wander
        return Signal(
            long_entry=ranging & (place < self.edge),
            short_entry=ranging & (place > 1 - self.edge),
            long_exit=place > 0.5,
            short_exit=place < 0.5,
            stop=self.stop,
            time_stop=40,
        )
