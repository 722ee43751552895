"""Trend: a straight line that fits."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import happened, previous


class RegressionTrend(Strategy):
    """Follow the slope of a linear regression that explains most of the movement.

    Edge: a steady move is worked by somebody with a schedule, and schedules are kept.
    Fails: when the schedule ends, without notice and from the best fit.
    """

    name = "regression_trend"
    timeframes = ("5m", "60m")
    fit = Param(0.7, 0.5, 0.95)
    stop_width = Param(2.5, 1.0, 5.0)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        good = f.linreg_r2_20 > self.fit
        up = good & (f.linreg_slope_20 > 0)
        down = good & (f.linreg_slope_20 < 0)
        return Signal(
            long_entry=up & ~previous(happened(up, 3)),
            short_entry=down & ~previous(happened(down, 3)),
            long_exit=f.linreg_r2_20 < 0.3,
            short_exit=f.linreg_r2_20 < 0.3,
            trail=self.stop_width * f.atr_14 / f.close,
        )
