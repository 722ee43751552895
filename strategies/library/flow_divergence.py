"""Divergence: price and money flow disagree."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import crossed_above, crossed_below


class FlowDivergence(Strategy):
    """Trade with the money flow when price has gone the other way.

    Edge: volume that arrives near the bar's high while price falls is patient buying.
    Fails: when a single large trade dominates the volume, and where volume is thin.
    """

    name = "flow_divergence"
    timeframes = ("5m", "60m")
    flow = Param(0.05, 0.02, 0.3)
    window = Param(12, 5, 40)
    stop = Param(0.015, 0.005, 0.04)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        past = f.feature("returns", self.window)
        money = f.chaikin_money_flow_20
        return Signal(
            long_entry=crossed_above(money, self.flow) & (past < 0),
            short_entry=crossed_below(money, -self.flow) & (past > 0),
            long_exit=money < 0,
            short_exit=money > 0,
            stop=self.stop,
            time_stop=36,
        )
