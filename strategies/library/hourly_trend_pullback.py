"""Multi-timeframe: the hour decides the side, the minutes the moment."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import crossed_above, crossed_below


class HourlyTrendPullback(Strategy):
    """Trade pullbacks on short bars in the direction of the hourly trend.

    Edge: the longer trend carries further than the shorter noise, which gives the entry a better price.
    Fails: around the turn of the hourly trend, which is seen late.
    """

    name = "hourly_trend_pullback"
    timeframes = ("1m", "5m")
    length = Param(7, 5, 21)
    dip = Param(30.0, 15.0, 45.0)
    stop = Param(0.01, 0.003, 0.03)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        hour = f["60m:ema_spread_9_21"]
        rsi = f.feature("rsi", self.length)
        return Signal(
            long_entry=(hour > 0) & crossed_above(rsi, self.dip),
            short_entry=(hour < 0) & crossed_below(rsi, 100 - self.dip),
            long_exit=hour < 0,
            short_exit=hour > 0,
            stop=self.stop,
            target=2 * self.stop,
            time_stop=120,
        )
