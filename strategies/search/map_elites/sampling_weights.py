"""Sampling weights: which feature families the embedded search draws more often, and which less.

Belongs here: from holdout outcomes to factors for `design`. Does not belong here: which outcomes may be used in a
cycle (that depends on their date), drawing (`strategies.search.map_elites.genome`).
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from strategies.language.strategy import Strategy
from strategies.search.map_elites.genome import read_name
from strategies.search.map_elites.vocabulary import TERMS

PRIOR: Final = 2
"""Neutral outcomes assumed for each family beforehand, so that a single outcome changes little."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of one finalist.

    Attributes
    ----------
    families : frozenset of str
        Families of what it reads; those outside the vocabulary are ignored.
    earned : bool
        Whether it had a positive net result on unseen data.
    """

    families: frozenset[str]
    earned: bool


def families_of(strategy: Strategy) -> list[str]:
    """Return the families of the vocabulary that a strategy reads, sorted."""
    return sorted({parts[0].family for parts in map(read_name, strategy.features()) if parts is not None})


def emphasis_of(outcomes: Iterable[Outcome], families: Collection[str] = TERMS.keys()) -> dict[str, float]:
    """Return how often each family is to be drawn against its usual share.

    Parameters
    ----------
    outcomes : iterable of Outcome
        None may depend on a holdout that has not expired.
    families : collection of str
        The vocabulary: by default that of strategies; for books `strategies.search.books.vocabulary.SCORE_TERMS`.

    Returns
    -------
    dict of str to float
        2 ** ((earned − lost) / (earned + lost + `PRIOR`)) for each family with an outcome: above 1/2 and below 2, so
        that no outcome excludes a family or leaves it alone.

    Examples
    --------
    >>> learnt = [Outcome(frozenset({"rsi", "adx"}), True), Outcome(frozenset({"rsi"}), True)]
    >>> {family: round(factor, 2) for family, factor in emphasis_of(learnt).items()}
    {'adx': 1.26, 'rsi': 1.41}
    """
    counts, balance = Counter[str](), Counter[str]()
    for outcome in outcomes:
        for family in outcome.families & set(families):
            counts[family] += 1
            balance[family] += 1 if outcome.earned else -1
    return {family: 2.0 ** (balance[family] / (counts[family] + PRIOR)) for family in sorted(counts)}
