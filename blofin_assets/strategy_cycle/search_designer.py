"""Designs by the embedded search, as proposals of a cycle.

Belongs here: turning the results of a search, of strategies or of books, into proposals and trials. Does not belong
here: the searches themselves (`strategies.search.map_elites.search`, `strategies.search.books`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backtester.statistics.windows import Window
from blofin_assets.shared.vocabulary import Author, ProposalState
from blofin_assets.strategy_cycle.population import STRATEGIES, Versions
from blofin_assets.strategy_cycle.proposals import Proposal, TrialRow, seen_in_search
from strategies.language.strategy import Strategy
from strategies.quotas import FINALISTS
from strategies.search.map_elites.loop import Designs
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
    return searched_by(
        STRATEGIES, result, panel.window, emphasis,
        lambda strategy: seen_in_search(evaluate_objective(panel, strategy)),
        lambda row: row["genome"] if row["stage"] == "full" else f"{row['genome']} (one symbol)",
    )  # fmt: skip


def searched_by(
    of: Versions[Any],
    result: Designs[Any, Any],
    window: Window,
    emphasis: Mapping[str, float],
    seen: Callable[[Any], dict[str, Any]],
    line: Callable[[Mapping[str, Any]], str],
) -> Searched:
    """Return the results of a search of any kind as proposals and trials.

    Parameters
    ----------
    of : Versions
        The kind.
    result : Designs
        What the search found.
    window : Window
        The search window.
    emphasis : mapping of str to float
        Sampling weights that lessons changed.
    seen : callable
        Gives the fields of `Proposal` that describe a version's in-sample result.
    line : callable
        From a row of the search's trials to the text of its configuration.

    Returns
    -------
    Searched
        Finalists of the search, with its trials.
    """
    share, rest = divmod(result.evaluations, max(1, len(result.finalists)))
    proposals = [
        Proposal(
            of.design,
            Author.SEARCH,
            ProposalState.SOUND,
            name=finalist.strategy.name,
            version=finalist.strategy.version,
            reason=finalist.strategy.description.split("\n\n")[0],
            evaluations=share + (rest if place == 0 else 0),
            strategy=finalist.strategy,
            **seen(finalist.strategy),
        )
        for place, finalist in enumerate(result.finalists)
    ]
    tries = [
        TrialRow(Author.SEARCH, row["candidate"], None, line(row), row["score"], row["trades"], row["sharpe"], window)
        for row in result.trials.iter_rows(named=True)
    ]
    stopped = ", ".join(f"{count} at {stage}" for stage, count in result.rejected.items())
    learnt = ", ".join(f"{family} ×{factor:.2f}" for family, factor in emphasis.items())
    filled = f"{result.coverage:.0%} of the map filled; stopped early: {stopped or 'none'}"
    ended = f"{result.stopped}; " if result.stopped else ""
    return Searched(
        proposals, tries, result.evaluations, f"{ended}{filled}; sampling weights from lessons: {learnt or 'none yet'}"
    )
