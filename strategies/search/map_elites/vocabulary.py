"""The search space: feature terms with the lengths and levels that the search combines.

Belongs here: for each feature family its lengths, centre and levels, and its description in a sentence. Does not
belong here: how terms become a strategy (`strategies.search.map_elites.genome`), what a feature is
(`features.library`).

A *signed* term has a side: above its centre it favours long, as far below it short, so one comparison serves both
sides. A *plain* term filters both sides alike. Only terms without a unit of price are included, since a level must mean
the same for every symbol.
"""

from dataclasses import dataclass
from typing import Final

from features.bars import Timeframe


@dataclass(frozen=True)
class FeatureTerm:
    """A family of features that a condition can be made of.

    Parameters
    ----------
    family : str
        Name of the feature before its numbers.
    says : str
        What it measures, in a sentence.
    low, high : float
        Range of the level: the distance from `centre` of a signed term, the value itself of a plain one.
    step : float
        Grid of levels.
    centre : float, optional
        Neutral value of a signed term; null for a plain one.
    lengths : tuple of tuple of int
        Numbers that may stand behind the family; empty for a name without.
    truth : bool
        Whether the feature is a truth value, which has no level.
    """

    family: str
    says: str
    low: float = 0.0
    high: float = 0.0
    step: float = 0.01
    centre: float | None = None
    lengths: tuple[tuple[int, ...], ...] = ()
    truth: bool = False

    @property
    def signed(self) -> bool:
        """Whether the term has a side."""
        return self.centre is not None

    def on_grid(self, level: float) -> float:
        """Return the nearest level of the grid inside the range."""
        return round(float(min(max(round(level / self.step) * self.step, self.low), self.high)), 10)

    def feature(self, numbers: tuple[int, ...], context: Timeframe | None = None) -> str:
        """Return the name of the feature at these numbers, read from the timeframe `context` if there is one."""
        name = "_".join([self.family, *map(str, numbers)])
        return f"{context}:{name}" if context else name


def _each(*lengths: int) -> tuple[tuple[int, ...], ...]:
    return tuple((length,) for length in lengths)


_MOVES: Final = tuple((n, m) for n in (3, 6, 12, 24, 30, 60) for m in (48, 96, 288, 720, 1440) if 2 * n <= m)

SIGNED: Final[tuple[FeatureTerm, ...]] = (
    FeatureTerm("scaled_move", "the move of some bars in units of usual volatility", 0.5, 4.0, 0.1, 0.0, _MOVES),
    FeatureTerm("zscore", "the distance of the price from its mean", 0.5, 3.5, 0.1, 0.0, _each(10, 20, 40, 60, 120)),
    FeatureTerm("rsi", "relative strength", 5.0, 40.0, 1.0, 50.0, _each(5, 7, 10, 14, 21, 28)),
    FeatureTerm("stoch_k", "the place in the recent range", 10.0, 45.0, 1.0, 50.0, _each(9, 14, 21, 50)),
    FeatureTerm("cci", "the distance from the typical price", 40.0, 250.0, 10.0, 0.0, _each(14, 20, 40)),
    FeatureTerm("bbands_percent", "the place inside the bands", 0.3, 1.0, 0.05, 0.5, _each(20, 40)),
    FeatureTerm("risk_adjusted_momentum", "momentum for its risk", 0.05, 1.0, 0.05, 0.0, _each(10, 20, 40, 60)),
    FeatureTerm("aroon_oscillator", "how recent the extremes are", 20.0, 95.0, 5.0, 0.0, _each(14, 25, 50)),
    FeatureTerm("up_share", "the share of rising bars", 0.05, 0.3, 0.01, 0.5, _each(10, 20, 40)),
    FeatureTerm("true_strength", "smoothed momentum", 5.0, 60.0, 5.0, 0.0, ((25, 13),)),
    FeatureTerm("mfi", "volume-weighted relative strength", 10.0, 40.0, 1.0, 50.0, _each(14, 28)),
    FeatureTerm("chaikin_money_flow", "money flow", 0.02, 0.4, 0.02, 0.0, _each(20, 40)),
    FeatureTerm("volume_imbalance", "the balance of buying and selling volume", 0.05, 0.6, 0.05, 0.0, _each(20, 40)),
    FeatureTerm("close_location", "where the bar closed in its range", 0.2, 0.5, 0.02, 0.5),
    FeatureTerm("bar_body", "the body of the bar", 0.2, 0.95, 0.05, 0.0),
    FeatureTerm("breakout_strength", "how far the price stands outside its range", 0.0, 2.0, 0.1, 0.0),
    FeatureTerm("ema_distance", "the distance from the average", 0.0, 0.01, 0.0005, 0.0, _each(9, 21, 50)),
    FeatureTerm("ema_spread", "the spread of two averages", 0.0, 0.006, 0.0005, 0.0, ((5, 20), (9, 21), (20, 50))),
    FeatureTerm("ppo", "the spread of two averages in percent", 0.0, 0.6, 0.05, 0.0, ((12, 26),)),
    FeatureTerm("funding_rate", "the last funding rate", 0.0, 2e-4, 1e-5, 0.0),
)
"""Terms with a side."""

PLAIN: Final[tuple[FeatureTerm, ...]] = (
    FeatureTerm("volatility_rank", "the rank of volatility", 0.1, 0.9, 0.05, None, _each(100)),
    FeatureTerm("volatility_ratio", "short against long volatility", 0.5, 2.0, 0.05, None, ((10, 60),)),
    FeatureTerm("efficiency_ratio", "how straight the path is", 0.1, 0.7, 0.05, None, _each(10, 20, 40)),
    FeatureTerm("choppiness", "how choppy the path is", 30.0, 65.0, 2.5, None, _each(14, 28)),
    FeatureTerm("adx", "the strength of the trend", 12.0, 45.0, 1.0, None, _each(7, 14)),
    FeatureTerm("linreg_r2", "how well a line fits", 0.1, 0.9, 0.05, None, _each(20)),
    FeatureTerm("natr", "the average range in percent", 0.02, 1.2, 0.02, None, _each(14)),
    FeatureTerm("volume_ratio", "volume against its mean", 0.4, 3.0, 0.1, None, _each(20)),
    FeatureTerm("volume_zscore", "unusual volume", -1.0, 3.0, 0.25, None, _each(20)),
    FeatureTerm("hour_of_day", "the hour of the day", 1.0, 22.0, 1.0),
    FeatureTerm("minute_of_hour", "the minute of the hour", 5.0, 55.0, 5.0),
    FeatureTerm("hours_to_funding", "the time to the next funding", 1.0, 7.0, 0.5),
    FeatureTerm("is_squeeze", "a squeeze of the bands", truth=True),
    FeatureTerm("is_volume_spike", "a spike of volume", truth=True),
    FeatureTerm("is_weekend", "the weekend", truth=True),
    FeatureTerm("is_high_volatility", "high volatility", truth=True),
    FeatureTerm("is_low_volatility", "low volatility", truth=True),
)
"""Terms without a side."""

TERMS: Final[dict[str, FeatureTerm]] = {term.family: term for term in (*SIGNED, *PLAIN)}
"""Every term by its family."""

CONTEXT: Final[Timeframe] = "60m"
"""The longer timeframe that a condition may be read from."""
IN_CONTEXT: Final = frozenset(
    {"scaled_move", "zscore", "rsi", "ema_spread", "efficiency_ratio", "adx", "volatility_rank"}
)
"""Terms that are worth reading from the longer timeframe."""
_MOST_BARS: Final[dict[Timeframe, int]] = {
    "1m": 1440,
    "5m": 720,
    "15m": 384,
    "60m": 96,
    "4h": 60,
    "1d": 20,
}


def lengths_on(term: FeatureTerm, timeframe: Timeframe) -> tuple[tuple[int, ...], ...]:
    """Return the numbers of a term that a few weeks of bars of this timeframe can warm up; never none of them."""
    some = tuple(numbers for numbers in term.lengths if max(numbers) <= _MOST_BARS[timeframe])
    return some or term.lengths[:1]
