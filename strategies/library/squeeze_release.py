"""Volatility: the release after a squeeze."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import happened, highest, lowest, previous


class SqueezeRelease(Strategy):
    """Wait until the Bollinger bands lie inside the Keltner channel, then join the first break.

    Edge: volatility comes in clusters: quiet ends in movement, and the first break shows its side.
    Fails: when the first break is a feint; then both sides are stopped in turn.
    """

    name = "squeeze_release"
    timeframes = ("5m", "60m")
    memory = Param(12, 3, 40)
    window = Param(10, 5, 40)
    stop = Param(0.012, 0.004, 0.04)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        quiet = happened(f.is_squeeze, self.memory)
        up = f.close > previous(highest(f.high, self.window))
        down = f.close < previous(lowest(f.low, self.window))
        return Signal(
            long_entry=quiet & up,
            short_entry=quiet & down,
            stop=self.stop,
            target=3 * self.stop,
            time_stop=36,
        )
