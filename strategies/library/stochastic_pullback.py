"""Trend: buy the dip, sell the rally."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import crossed_above, crossed_below


class StochasticPullback(Strategy):
    """Enter a trend when the stochastic oscillator turns back from the far side.

    Edge: within a trend the weak holders leave first; their end is the better entry.
    Fails: when the pullback is the reversal.
    """

    name = "stochastic_pullback"
    timeframes = ("5m", "60m")
    low = Param(30.0, 10.0, 40.0)
    stop_width = Param(2.0, 1.0, 4.0)
    reward = Param(1.5, 0.8, 4.0)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        trend = f.ema_spread_9_21
        width = self.stop_width * f.atr_14 / f.close
        return Signal(
            long_entry=(f.sma_distance_50 > 0) & crossed_above(f.stoch_k, self.low),
            short_entry=(f.sma_distance_50 < 0) & crossed_below(f.stoch_k, 100 - self.low),
            long_exit=trend < -0.01,
            short_exit=trend > 0.01,
            stop=width,
            target=self.reward * width,
            time_stop=48,
        )
