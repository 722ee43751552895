"""Time of day: the first hour of a session shows the way."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import previous


class SessionMomentum(Strategy):
    """Follow the direction of a session's first hour until its end.

    Edge: the opening of the American session brings the day's information and its largest flows.
    Fails: on days without news, and in summer time by an hour.
    """

    name = "session_momentum"
    timeframes = ("5m", "60m")
    hour = Param(15, 8, 20)
    move = Param(0.5, 0.0, 2.0)
    hold_hours = Param(5, 2, 8)
    stop = Param(0.015, 0.005, 0.04)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        opening = (f.hour_of_day >= self.hour) & (previous(f.hour_of_day) < self.hour)
        push = f["60m:returns"] / f["60m:realized_volatility_20"]
        over = f.hour_of_day >= self.hour + self.hold_hours
        return Signal(
            long_entry=opening & (push > self.move),
            short_entry=opening & (push < -self.move),
            long_exit=over,
            short_exit=over,
            stop=self.stop,
        )
