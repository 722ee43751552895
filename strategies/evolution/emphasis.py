"""What outcomes teach the embedded search: which feature families it draws more often, and which less.

Belongs here: from outcomes of exams to factors for `search.design`. Does not belong here: which outcomes may be used at
a cycle (their date decides, where they are stored), drawing (`genome`).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from strategies.base import Strategy
from strategies.evolution.genome import read_name
from strategies.evolution.vocabulary import WORDS

PRIOR: Final = 2
"""Outcomes of neither kind that each family is thought to have had before: a single one moves little."""


@dataclass(frozen=True)
class Outcome:
    """What became of one finalist.

    Attributes
    ----------
    families : frozenset of str
        Families of the features that it reads; those that the search has no word for are passed over.
    earned : bool
        Whether it made money on days that its author had not seen, costs paid.
    """

    families: frozenset[str]
    earned: bool


def families_of(strategy: Strategy) -> list[str]:
    """Return the families of the vocabulary that a strategy reads, sorted."""
    return sorted({found[0].family for found in map(read_name, strategy.features()) if found is not None})


def emphasis_of(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Return how often each family is to be drawn against its usual share.

    Parameters
    ----------
    outcomes : iterable of Outcome
        None of them may rest on an exam that is still current.

    Returns
    -------
    dict of str to float
        2 ** ((earned − lost) / (earned + lost + `PRIOR`)) for each family with an outcome: above 1/2 and below 2, so
        that nothing that was learnt, and nothing that was planted, shuts a family out or makes it the only one.

    Examples
    --------
    >>> learnt = [Outcome(frozenset({"rsi", "adx"}), True), Outcome(frozenset({"rsi"}), True)]
    >>> {family: round(factor, 2) for family, factor in emphasis_of(learnt).items()}
    {'adx': 1.26, 'rsi': 1.41}
    """
    told, balance = Counter[str](), Counter[str]()
    for each in outcomes:
        for family in each.families & WORDS.keys():
            told[family] += 1
            balance[family] += 1 if each.earned else -1
    return {family: 2.0 ** (balance[family] / (told[family] + PRIOR)) for family in sorted(told)}
