"""Regime: follow in trends, fade in ranges."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import where


class RegimeSwitch(Strategy):
    """Follow the last move while the market is efficient, fade it while it is choppy.

    Edge: the same move means its opposite in the two regimes, and regimes last longer than moves.
    Fails: at each change of regime, which is recognised only after it.
    """

    name = "regime_switch"
    timeframes = ("5m", "60m")
    trending = Param(0.45, 0.3, 0.7)
    choppy = Param(0.15, 0.05, 0.3)
    move = Param(1.2, 0.5, 3.0)
    stop = Param(0.015, 0.005, 0.04)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        efficient = f.efficiency_ratio_20
        side = where(efficient > self.trending, 1, where(efficient < self.choppy, -1, 0))
        push = side * f.zscore_20
        return Signal(
            long_entry=push > self.move,
            short_entry=push < -self.move,
            long_exit=push < 0,
            short_exit=push > 0,
            stop=self.stop,
            time_stop=36,
        )
