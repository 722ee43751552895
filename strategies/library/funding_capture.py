"""Funding: be paid for standing against the crowd."""

from strategies import Features, Param, Signal, Strategy
from strategies.language import previous


class FundingCapture(Strategy):
    """Hold the side that is paid over a funding time when the rate is worth it.

    Edge: the crowded side pays the other; where price has not moved against it yet, the payment is an income.
    Fails: when the crowd is right, and always where the rate is smaller than the costs of one round trip.
    """

    name = "funding_capture"
    timeframes = ("5m", "60m")
    rate = Param(0.00002, 0.00001, 0.001)
    hours = Param(1.0, 0.5, 3.0)
    stop = Param(0.01, 0.003, 0.03)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        soon = f.hours_to_funding <= self.hours
        first = soon & (previous(f.hours_to_funding) > self.hours)
        paid = f.hours_to_funding > 6
        return Signal(
            long_entry=first & (f.funding_rate < -self.rate),
            short_entry=first & (f.funding_rate > self.rate),
            long_exit=paid,
            short_exit=paid,
            stop=self.stop,
        )
