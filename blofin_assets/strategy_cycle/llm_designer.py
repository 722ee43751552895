"""Designs by Claude: requested, validated, returned once for correction, tuned within their share of the budget.

Belongs here: the order of these steps for one design. Does not belong here: the text of the prompt
(`strategies.llm.prompts`), compiling and the child process (`strategies.untrusted.compiler`,
`strategies.untrusted.sandbox`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from blofin_assets.shared.fence import Failed, fenced
from blofin_assets.shared.llm_session import LlmSession
from blofin_assets.shared.prediction_source import check_prediction
from blofin_assets.shared.vocabulary import Author, ProposalState
from blofin_assets.strategy_cycle.proposals import Proposal, TrialRow, seen_in_search
from blofin_assets.strategy_cycle.search_window import sample_of
from blofin_resources.claude import Answer
from blofin_resources.errors import BlofinError
from features.engine import needs
from features.market import Market
from strategies.language.strategy import Strategy, StrategyError
from strategies.llm.answers import Design
from strategies.llm.prompts import Prompt
from strategies.quotas import Stage
from strategies.search.objective import Scored, evaluate_objective
from strategies.search.panel import Panel
from strategies.search.tuning import tune
from strategies.untrusted.compiler import compile_strategy
from strategies.untrusted.sandbox import Limits, first_evaluation
from strategies.validation.checks import validate
from strategies.validation.duplicates import Positions, find_duplicate

DESIGNS: Final = 3
"""Designs requested per cycle."""

ROUNDS: Final = 2
"""Attempts per design: the first, and one more if it was refused or failed."""

CUTS: Final = 4
"""Random times at which the causality test cuts the data, in addition to the critical ones."""

WANTED: Final = (
    "The idea that you have the best reason to believe will earn more than its costs, on 5m or 60m bars.",
    "Something made for the market as it is described here, on the timeframe that suits it.",
    "Something unlike everything that exists here: another reason why somebody pays.",
)
"""The request for each design of a cycle."""


@dataclass(frozen=True)
class Judge:
    """Everything that a design must pass before it may be a finalist. It reads no bar of the holdout.

    Attributes
    ----------
    symbols : sequence of str
        What may be traded and read.
    panel : callable
        Returns the panel of the search window that is a strategy's own; raises `BlofinError` where there is none.
    market : callable
        Returns the market on which a strategy is validated, with all that it reads.
    taken : mapping of str to Positions
        Names in use, with their positions in the search window; empty for strategies that do not trade.
    seed : int
        Seed of the checks.
    limits : Limits
        Limits of the child process.
    """

    symbols: Sequence[str]
    panel: Callable[[Strategy], Panel]
    market: Callable[[Strategy], Market]
    taken: Mapping[str, Positions]
    seed: int
    limits: Limits

    def read(self, code: str) -> Strategy:
        """Return the strategy that a text defines.

        Raises
        ------
        StrategyError
            If it does not compile, if its name is taken, if it reads an unknown symbol or model, if its bars have
            no search window, or if it fails in the child process; the message gives the reason.
        """
        strategy = compile_strategy(code, "your strategy")
        if strategy.name in self.taken:
            msg = f"the name {strategy.name} is taken; choose another"
            raise StrategyError(msg)
        try:
            self.panel(strategy)
        except BlofinError as error:
            msg = f"{error}; write it on 5m or 60m"
            raise StrategyError(msg) from error
        require_known(strategy, self.symbols)
        verdict = first_evaluation(strategy.source(), sample_of(self.market(strategy)), self.limits, seed=self.seed)
        if not verdict.accepted:
            raise StrategyError(verdict.reason)
        if (verdict.name, verdict.version) != (strategy.name, strategy.version):
            named, own = f"{verdict.name} {verdict.version}", f"{strategy.name} {strategy.version}"
            msg = f"its first evaluation was of {named}, not of {own}"
            raise StrategyError(msg)
        return strategy

    def examine(self, strategy: Strategy) -> Scored:
        """Validate a strategy and return its results in the search window.

        Raises
        ------
        StrategyError
            If it looks ahead, depends on the price level, never trades, or duplicates an existing strategy.
        """
        findings = validate(strategy, self.market(strategy), cuts=CUTS, seed=self.seed)
        if findings:
            raise StrategyError(
                "; ".join(f"{finding.check} on {finding.timeframe}: {finding.detail}" for finding in findings)
            )
        panel = self.panel(strategy)
        scored = evaluate_objective(panel, strategy)
        if not scored.pooled.trades:
            msg = "it made no trades in the search window"
            raise StrategyError(msg)
        same = find_duplicate(panel.positions(strategy), self.taken)
        if same is not None:
            msg = f"it trades like {same[0]}; design something different"
            raise StrategyError(msg)
        return scored


def require_known(strategy: Strategy, symbols: Collection[str]) -> None:
    """Refuse a strategy that reads a symbol that is not configured, or the prediction of an unknown model.

    The compiler cannot check this: it knows the form of such names, not which symbols and models exist.

    Raises
    ------
    StrategyError
        With the unknown name and the available ones.
    """
    for timeframe in strategy.timeframes:
        need = needs(strategy.features(timeframe), timeframe)
        unknown = sorted({symbol for symbol, _ in need.candles if symbol} - set(symbols))
        if unknown:
            msg = f"it reads {', '.join(unknown)}, which is not configured; available: {', '.join(symbols)}"
            raise StrategyError(msg)
        for name in sorted({name for names in need.predictions.values() for name in names}):
            kind, _, bare = name.partition(":")
            try:
                check_prediction(kind, bare)
            except LookupError as error:
                raise StrategyError(str(error.args[0])) from error


def design_all(
    asker: LlmSession, judge_of: Judge, prompt: Callable[[str], Prompt], *, budget: int, seed: int
) -> tuple[list[Proposal], list[TrialRow]]:
    """Request the designs of a cycle and return the proposals with every evaluation.

    Parameters
    ----------
    asker : LlmSession
        Claude for this stage.
    judge_of : Judge
        The checks that a design must pass.
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
    for slot, wanted in enumerate(WANTED[:DESIGNS]):
        if asker.over:
            break
        judge_now = replace(judge_of, taken=names)
        share = budget // DESIGNS
        answer = fenced(_design, asker, judge_now, prompt(wanted), share, seed + slot)
        if isinstance(answer, Failed):
            proposals.append(
                Proposal(
                    Stage.DESIGN, Author.CLAUDE, ProposalState.REFUSED, refusal=f"evaluating it failed: {answer.reason}"
                )
            )
            continue
        new, tried = answer
        proposals += new
        tries += tried
        for proposal in new:
            if proposal.name and isinstance(proposal.strategy, Strategy):
                names[proposal.name] = held_by(judge_of.panel, proposal.strategy)
    return proposals, tries


def held_by(panel: Callable[[Strategy], Panel], strategy: Strategy) -> Positions:
    """Return a strategy's positions in its search window; none if it cannot be run."""
    held = fenced(lambda: panel(strategy).positions(strategy))
    return {} if isinstance(held, Failed) else held


def _design(
    asker: LlmSession, judge_of: Judge, prompt: Prompt, share: int, seed: int
) -> tuple[list[Proposal], list[TrialRow]]:
    """Return one design and its refused predecessors, each as a proposal."""
    refused: list[Proposal] = []
    for _ in range(ROUNDS):
        before = asker.cost_usd
        answer = asker.ask("designer", prompt, Design)
        if not isinstance(answer, Answer):
            return refused, []
        design, cost = answer.value, asker.cost_usd - before
        shared: dict[str, Any] = {"reason": design.idea, "fails_when": design.fails_when, "cost_usd": cost}
        came_of = fenced(_judged, judge_of, design.code, share, seed)
        if isinstance(came_of, Failed):
            refused.append(
                Proposal(Stage.DESIGN, Author.CLAUDE, ProposalState.REFUSED, refusal=came_of.reason, **shared)
            )
            prompt = prompt.again(design.code, came_of.reason)
            continue
        best, tries = came_of
        sound = Proposal(
            Stage.DESIGN, Author.CLAUDE, ProposalState.SOUND, name=best.strategy.name,
            version=best.strategy.version, evaluations=len(tries), strategy=best.strategy,
            design_prompt=answer.question, knows_until=answer.knows_until, **seen_in_search(best), **shared,
        )  # fmt: skip
        return [sound, *refused], tries
    return refused, []


def _judged(judge_of: Judge, code: str, share: int, seed: int) -> tuple[Scored, list[TrialRow]]:
    """Return the best version of a text that passes all checks, with its evaluations."""
    strategy = judge_of.read(code)
    judge_of.examine(strategy)
    return _tuned(judge_of, strategy, share, seed)


def _tuned(judge_of: Judge, strategy: Strategy, share: int, seed: int) -> tuple[Scored, list[TrialRow]]:
    """Return the best version within a share of the budget if it passes validation as well, else the design itself."""
    panel = judge_of.panel(strategy)
    tuned = tune(panel, strategy, budget=max(1, share), seed=seed)
    tries = [TrialRow.of(scored, panel.window) for scored in tuned.tried]
    if tuned.best is None or validate(
        tuned.best.strategy, judge_of.market(tuned.best.strategy), cuts=CUTS, seed=judge_of.seed
    ):
        return tuned.parent, tries
    return tuned.best, tries


def proposals_first(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Return the sound proposals, best first, then the refused ones in their order."""
    sound = sorted(
        (proposal for proposal in proposals if proposal.state == ProposalState.SOUND),
        key=lambda proposal: -(proposal.objective or 0.0),
    )
    return [*sound, *(proposal for proposal in proposals if proposal.state != ProposalState.SOUND)]
