"""Quotas: which strategies are tuned, and which proposals are run on the holdout, from in-sample results alone.

Belongs here: choosing among proposals and underperformers. Does not belong here: the objective
(`strategies.search.objective`), the order of ranks (`backtester.evaluation.ranking`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from backtester.evaluation.ranking import last_fifth


class Stage(StrEnum):
    """Where a proposal comes from."""

    TUNING = "tuning"
    DESIGN = "design"
    BOOK_TUNING = "book tuning"
    BOOK_DESIGN = "book design"

    @property
    def tunes(self) -> bool:
        """Whether its proposals are other parameters of something known."""
        return self in _OF_TUNING


_OF_TUNING: Final = frozenset({Stage.TUNING, Stage.BOOK_TUNING})

FINALISTS: Final = 10
"""Most proposals that are run on the holdout of a cycle."""

TUNED: Final = 4
"""Places reserved for tuned versions."""

_TUNING: Final = (Stage.TUNING, "")
"""Queue of the tuned versions."""

ATTEMPTS: Final = 3
"""Attempts to tune a name, after which it is archived."""


@dataclass(frozen=True)
class Proposal:
    """A version that may be run on the holdout.

    Attributes
    ----------
    stage : Stage
        Where it comes from.
    designer : str
        Its author.
    name, version : str
        Of the strategy.
    merit : float
        Value in the search window, comparable within a stage: for tuned versions the gain of the objective over the
        version to replace, for designs the objective.
    """

    stage: Stage
    designer: str
    name: str
    version: str
    merit: float

    @property
    def key(self) -> tuple[str, str]:
        """Name and version."""
        return self.name, self.version


def choose_finalists(proposals: Sequence[Proposal], most: int = FINALISTS) -> list[Proposal]:
    """Return the proposals that are run on the holdout, in the order of choice.

    Tuned versions share `TUNED` places. The rest is split equally among the designers, each by falling merit; places
    that a designer cannot fill go to the others in turn.

    Parameters
    ----------
    proposals : sequence of Proposal
        Valid proposals, each name at most once within a stage; a name proposed twice is chosen once.
    most : int
        Number of places.

    Returns
    -------
    list of Proposal
        At most `most`.

    Examples
    --------
    >>> one = Proposal(Stage.DESIGN, "claude", "a", "1", merit=1.0)
    >>> two = Proposal(Stage.DESIGN, "claude", "b", "1", merit=2.0)
    >>> [proposal.name for proposal in choose_finalists([one, two], most=1)]
    ['b']
    """
    queues = _queues(proposals)
    designers = [key for key in queues if key != _TUNING]
    share = (most - min(TUNED, len(queues.get(_TUNING, [])))) // max(1, len(designers))
    certain = {_TUNING: TUNED, **dict.fromkeys(designers, share)}
    chosen: list[Proposal] = []
    for key in sorted(queues, key=lambda stage: (stage != _TUNING, stage)):
        chosen += [queues[key].pop(0) for _ in range(min(certain[key], len(queues[key])))]
    while any(queues.values()) and len(chosen) < most:
        for key in sorted(queues):
            if queues[key] and len(chosen) < most:
                chosen.append(queues[key].pop(0))
    return chosen[:most]


def to_tune(
    ranking: Sequence[str], attempts: Mapping[str, int], waiting: frozenset[str], fixed: frozenset[str] = frozenset()
) -> tuple[list[str], list[str]]:
    """Return which strategies are tuned, and which are archived, the worst first.

    Parameters
    ----------
    ranking : sequence of str
        Names from best to worst in the search window. The bottom fifth, rounded up, is considered.
    attempts : mapping of str to int
        Attempts so far to tune each name.
    waiting : frozenset of str
        Names whose last attempt was run on a holdout that has not expired; its outcome must not be used yet.
    fixed : frozenset of str
        Names without a parameter to tune; archived at once.

    Returns
    -------
    tuple of two list of str
        Names to tune, and names to archive.

    Examples
    --------
    >>> to_tune(["a", "b", "c", "d", "e"], {"e": 1}, waiting=frozenset())
    (['e'], [])
    >>> to_tune(["a", "b", "c", "d", "e"], {"e": 3}, waiting=frozenset())
    ([], ['e'])
    """
    due = [name for name in last_fifth(ranking) if name not in waiting]
    spent = [name for name in due if attempts.get(name, 0) >= ATTEMPTS or name in fixed]
    return [name for name in due if name not in spent], spent


def _tunes(proposal: Proposal) -> bool:
    return proposal.stage in _OF_TUNING


def _merit(proposal: Proposal) -> tuple[bool, float, str, str]:
    """Return a key that sorts tuned versions first, then by falling merit."""
    return not _tunes(proposal), -proposal.merit, proposal.name, proposal.version


def _queues(proposals: Sequence[Proposal]) -> dict[tuple[str, str], list[Proposal]]:
    """Return the tuned versions and the designs of each designer, by falling merit, each name once."""
    queues: dict[tuple[str, str], list[Proposal]] = {}
    taken: set[str] = set()
    for proposal in sorted(
        proposals,
        key=lambda proposal: (not _tunes(proposal), -proposal.merit, proposal.name, proposal.version),
    ):
        if proposal.name not in taken:
            taken.add(proposal.name)
            key = _TUNING if _tunes(proposal) else (proposal.stage, proposal.designer)
            queues.setdefault(key, []).append(proposal)
    return queues
