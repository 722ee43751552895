"""Mean reversion: fade the impulse of half an hour."""

from strategies import Features, Param, Signal, Strategy


class ImpulseReversal(Strategy):
    """Fade a move of several bars that is large against the volatility before it, for a fixed time.

    Edge: hurried orders move the price beyond where patient ones would; it comes back within the hour.
    Fails: when the impulse is the beginning of a repricing.
    """

    name = "impulse_reversal"
    timeframes = ("5m", "60m")
    bars = Param(6, 3, 30)
    size = Param(2.0, 1.5, 4.0)
    hold = Param(12, 4, 60)
    stop = Param(0.02, 0.005, 0.05)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        move = f.feature("returns", self.bars) / (f.realized_volatility_60 * self.bars**0.5)
        return Signal(
            long_entry=move < -self.size,
            short_entry=move > self.size,
            stop=self.stop,
            time_stop=self.hold,
        )
