"""Designs by the embedded search, as proposals of a cycle.

Belongs here: turning what a search found into proposals and tries. Does not belong here: the search itself
(`strategies.evolution.search`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from blofin_assets.evolution.rows import SOUND, Made, Try, seen_in_search
from strategies.base import Strategy
from strategies.evolution.judging import judge
from strategies.evolution.panel import Panel
from strategies.evolution.search import design
from strategies.evolution.selection import FINALISTS

THREADS = 2
"""Candidates evaluated at once; the result does not depend on it."""


@dataclass(frozen=True)
class Searched:
    """What one search came to.

    Attributes
    ----------
    made : list of Made
        Proposals, the most promising first.
    tries : list of Try
        Every try that saw returns, those that the cascade stopped early among them.
    evaluations : int
        Full evaluations: what the budget counts.
    detail : str
        How much of the map was filled, what was stopped early, and what lessons made more or less frequent.
    """

    made: list[Made]
    tries: list[Try]
    evaluations: int
    detail: str


def search_for(
    panel: Panel,
    seeds: Sequence[Strategy],
    taken: Collection[str],
    *,
    budget: int,
    seed: int,
    emphasis: Mapping[str, float],
) -> Searched:
    """Search for new strategies within a budget.

    Parameters
    ----------
    panel : Panel
        Of the search window.
    seeds : sequence of Strategy
        Known strategies; what they read is tried first.
    taken : collection of str
        Names that are not free.
    budget : int
        Most full evaluations, at least 1.
    seed : int
        Of everything drawn.
    emphasis : mapping of str to float
        How often each feature family is drawn against its usual share; empty where nothing was learnt yet.
    """
    found = design(
        panel, seeds, budget=budget, seed=seed, finalists=FINALISTS, taken=taken, emphasis=emphasis, threads=THREADS
    )
    share, rest = divmod(found.evaluations, max(1, len(found.finalists)))
    made = [
        Made(
            "design",
            "search",
            SOUND,
            name=each.strategy.name,
            version=each.strategy.version,
            reason=each.strategy.description.split("\n\n")[0],
            evaluations=share + (rest if place == 0 else 0),
            strategy=each.strategy,
            **seen_in_search(judge(panel, each.strategy)),
        )
        for place, each in enumerate(found.finalists)
    ]
    tries = [
        Try(
            "search",
            row["candidate"],
            None,
            row["genome"] if row["stage"] == "full" else f"{row['genome']} (one symbol)",
            row["score"],
            row["trades"],
            row["sharpe"],
        )
        for row in found.trials.iter_rows(named=True)
    ]
    stopped = ", ".join(f"{count} at {stage}" for stage, count in found.rejected.items())
    learnt = ", ".join(f"{family} ×{factor:.2f}" for family, factor in emphasis.items())
    filled = f"{found.coverage:.0%} of the map filled; stopped early: {stopped}"
    return Searched(made, tries, found.evaluations, f"{filled}; drawn by lessons: {learnt or 'none yet'}")
