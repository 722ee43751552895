"""Seasonality: the same hours of the day before."""

from strategies import Book, Features, Param, Weights
from strategies.language import previous


class TimeOfDay(Book):
    """Buy what rose in the coming eight hours of each of the last seven days, sell what fell then.

    Edge: funds and bots trade at the same hours each day, and their flow is predictable.
    Fails: when the flow ends, and at any fee that is paid three times a day.
    Source: Heston, Korajczyk & Sadka (2010).
    """

    name = "time_of_day"
    timeframe, rebalance = "60m", "8h"
    share = Param(0.2, 0.05, 0.5)

    def weigh(self, f: Features) -> Weights:
        """See `Book.weigh`."""
        move = f.returns_8
        early = previous(move, 16) + previous(move, 40) + previous(move, 64)
        late = previous(move, 88) + previous(move, 112) + previous(move, 136) + previous(move, 160)
        return Weights(
            rank_by=early + late, long=self.share, short=self.share, size="inverse_volatility", band=0.3, keep=2.0
        )
