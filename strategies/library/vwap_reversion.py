"""Mean reversion: back to the volume-weighted price."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import stdev


class VwapReversion(Strategy):
    """Fade a price that is far from the volume-weighted average of the last bars.

    Edge: those who must trade a size measure themselves against this average and lean back towards it.
    Fails: on days of one direction, on which the average follows the price and not the reverse.
    """

    name = "vwap_reversion"
    timeframes = ("1m", "5m", "60m")
    length = Param(48, 20, 120)
    width = Param(1.8, 1.2, 4.0)
    stop = Param(0.015, 0.004, 0.04)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        average = f.feature("vwap", self.length)
        away = (f.close / average - 1) / (stdev(f.returns, self.length) * self.length**0.5 / 2)
        return Signal(
            long_entry=away < -self.width,
            short_entry=away > self.width,
            long_exit=f.close > average,
            short_exit=f.close < average,
            stop=self.stop,
            time_stop=60,
        )
