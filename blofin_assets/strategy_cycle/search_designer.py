"""Designs by the embedded search, as proposals of a cycle.

Belongs here: turning the results of a search into proposals and trials. Does not belong here: the search itself
(`strategies.search.map_elites.search`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from blofin_assets.shared.vocabulary import Author, ProposalState
from blofin_assets.strategy_cycle.proposals import Proposal, TrialRow, seen_in_search
from strategies.language.strategy import Strategy
from strategies.quotas import FINALISTS, Stage
from strategies.search.map_elites.search import design
from strategies.search.objective import evaluate_objective
from strategies.search.panel import Panel

THREADS = 2
"""Candidates evaluated at once; the result does not depend on it."""


@dataclass(frozen=True)
class Searched:
    """The result of one search.

    Attributes
    ----------
    made : list of Proposal
        Proposals, the most promising first.
    tries : list of TrialRow
        Every trial that read returns, including those that the cascade stopped early.
    evaluations : int
        Full evaluations, which the budget limits.
    detail : str
        Share of the map that was filled, trials stopped early, and sampling weights that lessons changed.
    """

    made: list[Proposal]
    tries: list[TrialRow]
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
        In-sample evaluator of the search window.
    seeds : sequence of Strategy
        Known strategies; the features that they read are tried first.
    taken : collection of str
        Names in use.
    budget : int
        Full evaluations allowed, at least 1.
    seed : int
        Seed of all draws.
    emphasis : mapping of str to float
        Sampling weight of each feature family relative to its usual share; empty before the first lesson.

    Returns
    -------
    Searched
        Finalists of the search, with its trials.
    """
    result = design(
        panel, seeds, budget=budget, seed=seed, finalists=FINALISTS, taken=taken, emphasis=emphasis, threads=THREADS
    )
    share, rest = divmod(result.evaluations, max(1, len(result.finalists)))
    proposals = [
        Proposal(
            Stage.DESIGN,
            Author.SEARCH,
            ProposalState.SOUND,
            name=finalist.strategy.name,
            version=finalist.strategy.version,
            reason=finalist.strategy.description.split("\n\n")[0],
            evaluations=share + (rest if place == 0 else 0),
            strategy=finalist.strategy,
            **seen_in_search(evaluate_objective(panel, finalist.strategy)),
        )
        for place, finalist in enumerate(result.finalists)
    ]
    tries = [
        TrialRow(
            Author.SEARCH,
            row["candidate"],
            None,
            row["genome"] if row["stage"] == "full" else f"{row['genome']} (one symbol)",
            row["score"],
            row["trades"],
            row["sharpe"],
            panel.window,
        )
        for row in result.trials.iter_rows(named=True)
    ]
    stopped = ", ".join(f"{count} at {stage}" for stage, count in result.rejected.items())
    learnt = ", ".join(f"{family} ×{factor:.2f}" for family, factor in emphasis.items())
    filled = f"{result.coverage:.0%} of the map filled; stopped early: {stopped}"
    ended = f"{result.stopped}; " if result.stopped else ""
    return Searched(
        proposals, tries, result.evaluations, f"{ended}{filled}; sampling weights from lessons: {learnt or 'none yet'}"
    )
