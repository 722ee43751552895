"""Volatility: in calm markets, with the drift, in a size that fits."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import crossed_above, crossed_below, minimum


class CalmDrift(Strategy):
    """Follow a slow average while volatility is below its usual level, larger the calmer it is.

    Edge: risk-adjusted, trends are best when nobody looks: low volatility carries drift.
    Fails: when volatility returns; the stop is then far away in its own terms.
    """

    name = "calm_drift"
    timeframes = ("5m", "60m")
    length = Param(50, 20, 120)
    calm = Param(0.6, 0.3, 0.9)
    risk = Param(0.01, 0.003, 0.03)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        side = f.feature("sma_distance", self.length)
        calm = f.volatility_rank_100 < self.calm
        return Signal(
            long_entry=crossed_above(side, 0) & calm,
            short_entry=crossed_below(side, 0) & calm,
            long_exit=side < -0.002,
            short_exit=side > 0.002,
            trail=4 * f.atr_14 / f.close,
            size=minimum(1, self.risk / (2 * f.atr_14 / f.close)),
        )
