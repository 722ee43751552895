"""The search space of books: families of scores with the lengths that the search combines.

Belongs here: for each family its text in the language, its lengths and its description in a sentence. Does not belong
here: how scores become a book (`strategies.search.books.genome`, `strategies.search.books.code_generation`).

A score compares symbols, so it must mean the same whatever the unit of a price. Lengths are hours; on longer bars they
are as many bars as come closest, two at least.
"""

from dataclasses import dataclass
from typing import Final

from features.bars import MINUTES, Timeframe

GROUPS: Final = ("trend", "carry", "risk", "volume", "positioning")
"""What a score bets on."""
_HOUR: Final = 60


@dataclass(frozen=True)
class ScoreTerm:
    """A family of scores.

    Parameters
    ----------
    family : str
        Name of the family.
    says, less : str
        What has most of it, and what has least, in words that follow 'what'.
    group : str
        One of `GROUPS`.
    text : str
        Its value in the language, with `{0}` and `{1}` for its numbers of bars.
    lengths : tuple of tuple of int
        Hours that stand in for these.
    reads : tuple of str
        Names of the features that it reads, without numbers.
    """

    family: str
    says: str
    less: str
    group: str
    text: str
    lengths: tuple[tuple[int, ...], ...]
    reads: tuple[str, ...]

    def lengths_on(self, timeframe: Timeframe) -> tuple[tuple[int, ...], ...]:
        """Return its numbers of bars of a timeframe."""
        hours = MINUTES[timeframe] / _HOUR
        bars = [tuple(max(2, round(length / hours)) for length in lengths) for lengths in self.lengths]
        return tuple(dict.fromkeys(numbers for numbers in bars if len(set(numbers)) == len(numbers)))


def _each(*lengths: int) -> tuple[tuple[int, ...], ...]:
    return tuple((length,) for length in lengths)


_WEEKS: Final = _each(8, 24, 48, 72, 120, 168, 336, 504, 720)
_LONG: Final = _each(24, 72, 168, 336, 720)
_AGAINST: Final = ((8, 72), (24, 168), (24, 720), (72, 336), (72, 720), (168, 720))

SCORES: Final[tuple[ScoreTerm, ...]] = (
    ScoreTerm("returns", "rose most", "rose least", "trend", 'f.feature("returns", {0})', _WEEKS, ("returns",)),
    ScoreTerm(
        "path",
        "rose most for the length of its way",
        "rose least for the length of its way",
        "trend",
        'f.feature("risk_adjusted_momentum", {0})',
        _WEEKS,
        ("risk_adjusted_momentum",),
    ),
    ScoreTerm(
        "high",
        "is nearest to its high",
        "is farthest from its high",
        "trend",
        'f.feature("distance_to_high", {0})',
        _WEEKS,
        ("distance_to_high",),
    ),
    ScoreTerm(
        "rising",
        "rose in most bars",
        "rose in fewest bars",
        "trend",
        'f.feature("up_share", {0})',
        _LONG,
        ("up_share",),
    ),
    ScoreTerm(
        "strength",
        "has the highest relative strength",
        "has the lowest relative strength",
        "trend",
        'f.feature("rsi", {0})',
        _LONG,
        ("rsi",),
    ),
    ScoreTerm(
        "turn",
        "rose more lately than before",
        "rose less lately than before",
        "trend",
        'f.feature("returns", {0}) / {0} - f.feature("returns", {1}) / {1}',
        _AGAINST,
        ("returns",),
    ),
    ScoreTerm(
        "funding",
        "paid most funding",
        "paid least funding",
        "carry",
        "mean(f.funding_rate, {0})",
        _WEEKS,
        ("funding_rate",),
    ),
    ScoreTerm(
        "funding_turn",
        "pays more funding than it used to",
        "pays less funding than it used to",
        "carry",
        "mean(f.funding_rate, {0}) - mean(f.funding_rate, {1})",
        _AGAINST,
        ("funding_rate",),
    ),
    ScoreTerm(
        "volatility",
        "moves most",
        "moves least",
        "risk",
        'f.feature("realized_volatility", {0})',
        _LONG,
        ("realized_volatility",),
    ),
    ScoreTerm(
        "unrest",
        "moves more than it used to",
        "moves less than it used to",
        "risk",
        'f.feature("realized_volatility", {0}) / f.feature("realized_volatility", {1})',
        _AGAINST,
        ("realized_volatility",),
    ),
    ScoreTerm(
        "best_day",
        "had the best day",
        "had the poorest best day",
        "risk",
        "highest(f.returns_24, {0})",
        _LONG,
        ("returns",),
    ),
    ScoreTerm(
        "volume",
        "is traded more than it used to be",
        "is traded less than it used to be",
        "volume",
        "mean(f.quote_volume, {0}) / mean(f.quote_volume, {1})",
        _AGAINST,
        ("quote_volume",),
    ),
    ScoreTerm(
        "illiquidity",
        "is hardest to trade",
        "is easiest to trade",
        "volume",
        'f.feature("illiquidity", {0})',
        _LONG,
        ("illiquidity",),
    ),
    ScoreTerm(
        "money_flow",
        "closes highest in its ranges, by volume",
        "closes lowest in its ranges, by volume",
        "volume",
        'f.feature("chaikin_money_flow", {0})',
        _LONG,
        ("chaikin_money_flow",),
    ),
    ScoreTerm(
        "interest",
        "won most open interest",
        "lost most open interest",
        "positioning",
        'f.feature("open_interest_change", {0})',
        _LONG,
        ("open_interest_change",),
    ),
)
"""Every family of scores."""

SCORE_TERMS: Final[dict[str, ScoreTerm]] = {term.family: term for term in SCORES}
"""Every family by its name."""

RISK_HOURS: Final = 168
"""Hours of the volatility by which a score may be divided."""
