"""Who is tuned, and who takes the exam: pure quotas over what is known before the exam.

Belongs here: choosing among proposals and underperformers. Does not belong here: judging them (`judging`), the
order of ranks (`strategies.ranking`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Stage = Literal["tuning", "design"]

FINALISTS: Final = 10
"""Most proposals that take the exam of a cycle."""

TUNED: Final = 4
"""Places that tuned versions have for certain."""

_TUNING: Final = ("tuning", "")
"""Queue of the tuned versions."""

ATTEMPTS: Final = 3
"""Attempts to tune in the life of a name; then it is archived."""


@dataclass(frozen=True)
class Proposal:
    """One that may take the exam.

    Attributes
    ----------
    stage : {'tuning', 'design'}
        Where it comes from.
    designer : str
        Who made it.
    name, version : str
        What it is.
    merit : float
        What it is worth in the search window, within its stage: for tuned versions the gain of the objective over the
        version they would replace, for designs the objective.
    """

    stage: Stage
    designer: str
    name: str
    version: str
    merit: float


def choose_finalists(proposals: Sequence[Proposal], most: int = FINALISTS) -> list[Proposal]:
    """Return who takes the exam, in the order of choice.

    Tuned versions have `TUNED` places together, whoever called for them, and the rest is shared equally among the
    designers, each by falling merit; places that one cannot fill go to the others in turn.

    Parameters
    ----------
    proposals : sequence of Proposal
        Sound ones, each name at most once within a stage; a name that is proposed twice takes the exam once.
    most : int
        Places.
    """
    queues = _queues(proposals)
    designers = [key for key in queues if key != _TUNING]
    share = (most - min(TUNED, len(queues.get(_TUNING, [])))) // max(1, len(designers))
    certain = {_TUNING: TUNED, **dict.fromkeys(designers, share)}
    chosen: list[Proposal] = []
    for key in sorted(queues, key=lambda each: (each != _TUNING, each)):
        chosen += [queues[key].pop(0) for _ in range(min(certain[key], len(queues[key])))]
    while any(queues.values()) and len(chosen) < most:
        for key in sorted(queues):
            if queues[key] and len(chosen) < most:
                chosen.append(queues[key].pop(0))
    return chosen[:most]


def to_tune(
    ranking: Sequence[str], attempts: Mapping[str, int], waiting: frozenset[str], fixed: frozenset[str] = frozenset()
) -> tuple[list[str], list[str]]:
    """Return who is tuned and who has been tuned often enough and is archived, the worst first.

    Parameters
    ----------
    ranking : sequence of str
        Names from best to worst in the search window. Its last fifth, rounded up, is looked at.
    attempts : mapping of str to int
        Attempts in the life of each name so far.
    waiting : frozenset of str
        Names whose last attempt took an exam that is still current: nobody may act on its outcome yet.
    fixed : frozenset of str
        Names without a parameter to tune: replaced at once.
    """
    last = list(reversed(ranking[len(ranking) - -(-len(ranking) // 5) :]))
    due = [name for name in last if name not in waiting]
    spent = [name for name in due if attempts.get(name, 0) >= ATTEMPTS or name in fixed]
    return [name for name in due if name not in spent], spent


def _queues(proposals: Sequence[Proposal]) -> dict[tuple[str, str], list[Proposal]]:
    """Return the tuned versions, and the designs of each designer, by falling merit, each name once."""
    queues: dict[tuple[str, str], list[Proposal]] = {}
    taken: set[str] = set()
    for each in sorted(proposals, key=lambda each: (each.stage != "tuning", -each.merit, each.name, each.version)):
        if each.name not in taken:
            taken.add(each.name)
            key = _TUNING if each.stage == "tuning" else (each.stage, each.designer)
            queues.setdefault(key, []).append(each)
    return queues
