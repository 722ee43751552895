"""Volatility: range expansion carries."""

from strategies import Features, Param, Signal, Strategy


class VolatilityExpansion(Strategy):
    """Join a bar that is much larger than the average one and closes near its extreme.

    Edge: a sudden large bar is information that others learn of later.
    Fails: when the bar is a liquidation cascade that has run its course.
    """

    name = "volatility_expansion"
    timeframes = ("5m", "60m")
    size = Param(1.6, 1.2, 4.0)
    close_at = Param(0.75, 0.6, 0.95)
    stop_width = Param(1.5, 0.8, 4.0)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        large = f.true_range > self.size * f.atr_14
        width = self.stop_width * f.atr_14 / f.close
        return Signal(
            long_entry=large & (f.close_location > self.close_at) & (f.returns > 0),
            short_entry=large & (f.close_location < 1 - self.close_at) & (f.returns < 0),
            stop=width,
            target=2 * width,
            time_stop=24,
        )
