"""Designs by Claude: asked for, judged, sent back once, tuned within their author's share of the budget.

Belongs here: the order of these things for one design. Does not belong here: the words of the prompt
(`strategies.evolution.prompting`), compiling and the child process (`strategies.compiler`, `strategies.sandbox`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from blofin_assets.evolution.asking import Asker
from blofin_assets.evolution.rows import REFUSED, SOUND, Made, Try, seen_in_search
from blofin_assets.evolution.windows import sample_of
from blofin_assets.predictions import check_prediction
from blofin_resources.claude import Answer
from features.engine import needs
from features.market import Market
from strategies.base import Strategy, StrategyError
from strategies.compiler import compile_strategy
from strategies.duplicates import Positions, find_duplicate
from strategies.evolution.answers import Design
from strategies.evolution.judging import Judged, judge
from strategies.evolution.panel import Panel
from strategies.evolution.prompting import Prompt
from strategies.evolution.tuning import tune
from strategies.sandbox import Limits, first_evaluation
from strategies.validation import validate

DESIGNS: Final = 3
"""Designs that are asked for in a cycle."""

ROUNDS: Final = 2
"""The design, and one more where it was refused or failed."""

CUTS: Final = 4
"""Moments at which the future is taken away from a strategy, beside the telling ones."""

WANTED: Final = (
    "The idea that you have the best reason to believe will earn more than its costs, on 5m or 60m bars.",
    "Something made for the market as it is described here, on the timeframe that suits it.",
    "Something unlike everything that exists here: another reason why somebody pays.",
)
"""What each design of a cycle is asked to be."""


@dataclass(frozen=True)
class Judge:
    """Everything that a text must pass before it may take an exam; all of it before the exam's first bar.

    Attributes
    ----------
    panel : Panel
        Of the search window.
    market : callable
        Returns the market on which a strategy is validated, with all that it reads.
    taken : mapping of str to Positions
        Names that exist, with their positions in the search window; empty ones of names that do not trade.
    seed : int
        Of the checks.
    limits : Limits
        Of the child process.
    """

    panel: Panel
    market: Callable[[Strategy], Market]
    taken: Mapping[str, Positions]
    seed: int
    limits: Limits

    def read(self, code: str) -> Strategy:
        """Return the strategy that a text is.

        Raises
        ------
        StrategyError
            If it is none, if its name is taken, if it reads a symbol or model that there is not, or if it fails in
            the child process; the message says why.
        """
        found = compile_strategy(code, "your strategy")
        if found.name in self.taken:
            msg = f"the name {found.name} is taken; choose another"
            raise StrategyError(msg)
        require_known(found, self.panel.symbols)
        verdict = first_evaluation(code, sample_of(self.market(found)), self.limits, seed=self.seed)
        if not verdict.accepted:
            raise StrategyError(verdict.reason)
        return found

    def examine(self, strategy: Strategy) -> Judged:
        """Return what a strategy does in the search window.

        Raises
        ------
        StrategyError
            If it looks ahead, knows prices by heart, never trades, or repeats a strategy that exists.
        """
        findings = validate(strategy, self.market(strategy), cuts=CUTS, seed=self.seed)
        if findings:
            raise StrategyError("; ".join(f"{each.check} on {each.timeframe}: {each.detail}" for each in findings))
        found = judge(self.panel, strategy)
        if not found.pooled.trades:
            msg = "it never traded in the search window"
            raise StrategyError(msg)
        same = find_duplicate(self.panel.positions(strategy), self.taken)
        if same is not None:
            msg = f"its positions are those of {same[0]} (correlation {same[1]:.3f}); it must be different in kind"
            raise StrategyError(msg)
        return found


def require_known(strategy: Strategy, symbols: Collection[str]) -> None:
    """Refuse a strategy that reads a symbol that is not followed, or what no model says.

    The language cannot tell: it knows the form of such names, not which symbols and models there are.

    Raises
    ------
    StrategyError
        Naming it, and which there are.
    """
    for timeframe in strategy.timeframes:
        need = needs(strategy.features(timeframe), timeframe)
        unknown = sorted({symbol for symbol, _ in need.candles if symbol} - set(symbols))
        if unknown:
            msg = f"it reads {', '.join(unknown)}, which is not followed here; there are {', '.join(symbols)}"
            raise StrategyError(msg)
        for name in sorted({name for names in need.predictions.values() for name in names}):
            kind, _, bare = name.partition(":")
            try:
                check_prediction(kind, bare)
            except LookupError as error:
                raise StrategyError(str(error.args[0])) from error


def design_all(
    asker: Asker, judge_of: Judge, prompt: Callable[[str], Prompt], *, budget: int, seed: int
) -> tuple[list[Made], list[Try]]:
    """Ask for the designs of a cycle and return what came of each, with every evaluation made.

    Parameters
    ----------
    asker : Asker
        Claude for this stage.
    judge_of : Judge
        What a design must pass.
    prompt : callable
        Makes the prompt of a design from what is wanted of it.
    budget : int
        Most evaluations of all designs together; each design has an equal share for its declared parameters.
    seed : int
        Of the tuning.
    """
    made: list[Made] = []
    tries: list[Try] = []
    names = dict(judge_of.taken)
    for slot, wanted in enumerate(WANTED[:DESIGNS]):
        if asker.over:
            break
        judge_now = replace(judge_of, taken=names)
        found, seen = _design(asker, judge_now, prompt(wanted), share=budget // DESIGNS, seed=seed + slot)
        made += found
        tries += seen
        names |= {each.name: judge_of.panel.positions(each.strategy) for each in found if each.name and each.strategy}
    return made, tries


def _design(asker: Asker, judge_of: Judge, prompt: Prompt, *, share: int, seed: int) -> tuple[list[Made], list[Try]]:
    """Return one design with its refusals before it, each of which is a proposal of its own."""
    refused: list[Made] = []
    for _ in range(ROUNDS):
        before = asker.cost_usd
        came = asker.ask("designer", prompt, Design)
        if not isinstance(came, Answer):
            return refused, []
        design, cost = came.value, asker.cost_usd - before
        told: dict[str, Any] = {"reason": design.idea, "fails_when": design.fails_when, "cost_usd": cost}
        try:
            strategy = judge_of.read(design.code)
            judge_of.examine(strategy)
        except (LookupError, ValueError) as error:  # a StrategyError is a ValueError
            problem = str(error)
            refused.append(Made("design", "claude", REFUSED, refusal=problem, **told))
            prompt = prompt.again(design.code, problem)
            continue
        best, tries = _tuned(judge_of, strategy, share, seed)
        sound = Made(
            "design", "claude", SOUND, name=best.strategy.name, version=best.strategy.version,
            evaluations=len(tries), strategy=best.strategy, design_prompt=came.question, **seen_in_search(best), **told,
        )  # fmt: skip
        return [sound, *refused], tries
    return refused, []


def _tuned(judge_of: Judge, strategy: Strategy, share: int, seed: int) -> tuple[Judged, list[Try]]:
    """Return the best version of a design within its share of the budget, if it is sound too; else the design."""
    found = tune(judge_of.panel, strategy, budget=max(1, share), seed=seed)
    tries = [Try.of(each) for each in found.tried]
    if found.best is None or validate(
        found.best.strategy, judge_of.market(found.best.strategy), cuts=CUTS, seed=judge_of.seed
    ):
        return found.parent, tries
    return found.best, tries


def proposals_first(made: Sequence[Made]) -> list[Made]:
    """Return proposals with the sound ones first, the best of them at the top, then the refused in their order."""
    sound = sorted((each for each in made if each.state == SOUND), key=lambda each: -(each.objective or 0.0))
    return [*sound, *(each for each in made if each.state != SOUND)]
