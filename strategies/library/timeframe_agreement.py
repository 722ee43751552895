"""Multi-timeframe: three clocks, one direction."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import happened, previous


class TimeframeAgreement(Strategy):
    """Enter when the short, the hourly and the daily-scale trend begin to agree.

    Edge: when traders of different patience want the same, there is nobody to take the other side.
    Fails: at the end of a long move, where agreement is complete and everybody is in.
    """

    name = "timeframe_agreement"
    timeframes = ("5m",)
    length = Param(21, 9, 50)
    stop = Param(0.012, 0.004, 0.04)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        short = f.feature("ema_distance", self.length)
        hour = f["60m:ema_spread_9_21"]
        day = f["60m:sma_distance_50"]
        up = (short > 0) & (hour > 0) & (day > 0)
        down = (short < 0) & (hour < 0) & (day < 0)
        return Signal(
            long_entry=up & ~previous(happened(up, 12)),
            short_entry=down & ~previous(happened(down, 12)),
            long_exit=hour < 0,
            short_exit=hour > 0,
            stop=self.stop,
            trail=2 * self.stop,
        )
