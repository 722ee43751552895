"""Designs by Claude: requested, validated, returned once for correction, tuned within their share of the budget.

Belongs here: the order of these steps for one design, of strategies and of books. Does not belong here: the text of the
prompt (`strategies.llm.prompts`), what a design must pass (`judges`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from blofin_assets.shared.fence import Failed, fenced
from blofin_assets.shared.llm_session import LlmSession
from blofin_assets.shared.vocabulary import Author, Kind, ProposalState
from blofin_assets.strategy_cycle.judges import Judge
from blofin_assets.strategy_cycle.proposals import Proposal, TrialRow
from blofin_resources.claude import Answer
from strategies.llm.answers import Design
from strategies.llm.prompts import Prompt

DESIGNS: Final = 3
"""Designs requested per cycle."""

ROUNDS: Final = 2
"""Attempts per design: the first, and one more if it was refused or failed."""

WANTED: Final[Mapping[Kind, Sequence[str]]] = {
    Kind.STRATEGY: (
        "The idea that you have the best reason to believe will earn more than its costs, on 5m or 60m bars.",
        "Something made for the market as it is described here, on the timeframe that suits it.",
        "Something unlike everything that exists here: another reason why somebody pays.",
    ),
    Kind.BOOK: (
        "The idea that you have the best reason to believe will earn more than its costs over the next quarter.",
        "Something slow, that turns over so little that costs hardly matter.",
        "Something unlike every book that exists here: another reason why somebody pays.",
    ),
}
"""The request for each design of a cycle, by what is designed."""


def design_all(
    asker: LlmSession, judge_of: Judge[Any, Any], prompt: Callable[[str], Prompt], *, budget: int, seed: int
) -> tuple[list[Proposal], list[TrialRow]]:
    """Request the designs of a cycle and return the proposals with every evaluation.

    Parameters
    ----------
    asker : LlmSession
        Claude for this stage.
    judge_of : Judge
        The checks that a design must pass; it says what is designed.
    prompt : callable
        Returns the prompt for one request of `WANTED`.
    budget : int
        Evaluations allowed for all designs together; each has an equal share for tuning its parameters.
    seed : int
        Seed of the tuning.

    Returns
    -------
    tuple of list of Proposal and list of TrialRow
        Accepted and refused designs, and every evaluation.
    """
    proposals: list[Proposal] = []
    tries: list[TrialRow] = []
    names = dict(judge_of.taken)
    for slot, wanted in enumerate(WANTED[judge_of.of.kind][:DESIGNS]):
        if asker.over:
            break
        judge_now = replace(judge_of, taken=names)
        share = budget // DESIGNS
        answer = fenced(_design, asker, judge_now, prompt(wanted), share, seed + slot)
        if isinstance(answer, Failed):
            proposals.append(_refused(judge_of, f"evaluating it failed: {answer.reason}"))
            continue
        new, tried = answer
        proposals += new
        tries += tried
        for proposal in new:
            if proposal.name and proposal.strategy is not None:
                names[proposal.name] = judge_of.held(proposal.strategy)
    return proposals, tries


def _design(
    asker: LlmSession, judge_of: Judge[Any, Any], prompt: Prompt, share: int, seed: int
) -> tuple[list[Proposal], list[TrialRow]]:
    """Return one design and its refused predecessors, each as a proposal."""
    refused: list[Proposal] = []
    lost: list[TrialRow] = []
    for _ in range(ROUNDS):
        before = asker.cost_usd
        answer = asker.ask("designer", prompt, Design)
        if not isinstance(answer, Answer):
            return refused, lost
        design, cost = answer.value, asker.cost_usd - before
        shared: dict[str, Any] = {"reason": design.idea, "fails_when": design.fails_when, "cost_usd": cost}
        examined: list[TrialRow] = []
        came_of = fenced(_judged, judge_of, design.code, share - len(lost), seed, examined)
        if isinstance(came_of, Failed):
            lost += examined  # it saw returns: a try, whatever came of it
            refused.append(_refused(judge_of, came_of.reason, evaluations=len(examined), **shared))
            prompt = prompt.again(design.code, came_of.reason)
            continue
        best, tries = came_of
        sound = Proposal(
            judge_of.of.design, Author.CLAUDE, ProposalState.SOUND, name=best.strategy.name,
            version=best.strategy.version, evaluations=len(tries), strategy=best.strategy,
            design_prompt=answer.question, knows_until=answer.knows_until, **judge_of.seen(best), **shared,
        )  # fmt: skip
        return [sound, *refused], [*lost, *tries]
    return refused, lost


def _refused(judge_of: Judge[Any, Any], why: str, **shared: Any) -> Proposal:
    return Proposal(judge_of.of.design, Author.CLAUDE, ProposalState.REFUSED, refusal=why, **shared)


def _judged(
    judge_of: Judge[Any, Any], code: str, share: int, seed: int, examined: list[TrialRow]
) -> tuple[Any, list[TrialRow]]:
    """Return the best version of a text that passes all checks, with its evaluations."""
    version = judge_of.read(code)
    judge_of.examine(version, examined)
    return judge_of.tuned(version, share, seed)


def proposals_first(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Return the sound proposals, best first, then the refused ones in their order."""
    sound = sorted(
        (proposal for proposal in proposals if proposal.state == ProposalState.SOUND),
        key=lambda proposal: -(proposal.objective or 0.0),
    )
    return [*sound, *(proposal for proposal in proposals if proposal.state != ProposalState.SOUND)]
