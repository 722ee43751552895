"""Model inputs by Claude where drift persists: requested, validated, returned once for correction.

Belongs here: the order of these steps for one model, and the rows of the answers. Does not belong here: compiling and
the checks (`strategies.untrusted.feature_compiler`), whether an input helps (`model_zoo.training.tuning`), the text of
the prompt (`strategies.llm.prompts`), the registry of stored inputs (`blofin_assets.shared.feature_registry`).

No look-ahead: the prompt contains what was known when the search's window ended, three days before the as-of. The
challenger is evaluated on the days after that, and the prompt has nothing of them except that the model drifts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from blofin_assets.shared.llm_session import LlmSession
from blofin_assets.shared.vocabulary import Author, ProposalState
from blofin_assets.strategy_cycle.prompt_context import lessons
from blofin_assets.strategy_cycle.proposals import cut
from blofin_assets.strategy_cycle.search_window import sample_of, validation_market
from blofin_resources.claude import Answer
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from features.definition import Definition
from features.market import Market
from features.registry import standard_registry
from model_zoo.evaluation.importance import Suggestion
from model_zoo.models.base import ModelSpec, WrittenInput
from model_zoo.models.catalog import MODELS
from strategies.language.strategy import StrategyError
from strategies.llm.answers import Input
from strategies.llm.prompts import Prompt, feature_prompt
from strategies.untrusted.feature_compiler import problems, reads_of, text_hash, trial_problem, written_feature

ROUNDS: Final = 2
"""Attempts: the first, and one more if the answer was refused."""

_DRIFT: Final = (
    "SELECT as_of, metric, expected, forward, q, decision FROM research.drift_tests WHERE kind = 'model' "
    "AND name = ? AND as_of <= ? ORDER BY as_of DESC, metric LIMIT 12"
)


@dataclass(frozen=True)
class Proposed:
    """One answer, or its absence; the columns of `ml.written_inputs` explain each field."""

    model_name: str
    attempt: int
    state: ProposalState
    reason: str
    instead_of: tuple[str, ...]
    text: str | None = None
    name: str | None = None
    idea: str | None = None
    model: str | None = None
    calls: tuple[str, ...] = ()
    cost_usd: float = 0.0


@dataclass(frozen=True, eq=False)
class Redesign:
    """The answers for one model.

    Attributes
    ----------
    proposed : tuple of Proposed
        At least one, in order.
    definition : Definition or None
        The sound feature, if there is one: the last.
    """

    proposed: tuple[Proposed, ...]
    definition: Definition | None = None

    @property
    def inputs(self) -> dict[str, WrittenInput]:
        """The features that the search may use, by name."""
        text = self.proposed[-1].text
        if self.definition is None or text is None:
            return {}
        return {self.definition.pattern: WrittenInput(text, reads_of(self.definition))}


def importance_known(store: Warehouse, name: str, until: datetime) -> pl.DataFrame:
    """Return the importance of a model's inputs in its last cycle at or before a time, largest first.

    Parameters
    ----------
    store : Warehouse
        Where importances are stored.
    name : str
        The model.
    until : datetime
        Later cycles are ignored (UTC).

    Returns
    -------
    DataFrame
        One row per input.
    """
    return store.read(query("ml_cycle/importance"), {"name": name, "until": until})


def redesign(
    store: Warehouse, symbols: Sequence[str], spec: ModelSpec, until: datetime, asker: LlmSession, seed: int
) -> Redesign:
    """Request a new input for a model that drifts, to replace its useless ones.

    Parameters
    ----------
    store : Warehouse
        Where candles, importances, drift tests and lessons are stored.
    symbols : sequence of str
        Symbols whose bars are pooled.
    spec : ModelSpec
        The champion.
    until : datetime
        End of the search's window; the prompt has nothing later (UTC).
    asker : LlmSession
        Claude for this stage.
    seed : int
        Seed of the checks.

    Returns
    -------
    Redesign
        The proposed input, or why there is none.
    """
    worth = importance_known(store, spec.name, until)
    useless = tuple(
        worth.filter(pl.col("suggestion") == Suggestion.DROP, pl.col("feature").is_in(spec.inputs))["feature"]
    )
    if asker.over:
        return Redesign((Proposed(spec.name, 1, ProposalState.NOT_RUN, asker.detail, useless),))
    prompt = _prompt(store, spec, until, asker.as_of, worth)
    market = validation_market(store, symbols, until, [])
    proposed: list[Proposed] = []
    for attempt in range(1, ROUNDS + 1):
        answer = asker.ask("designer", prompt, Input)
        if not isinstance(answer, Answer):
            why = asker.detail if answer is None else f"{answer.reason}: {answer.detail}"
            spent: dict[str, Any] = {} if answer is None else {"calls": answer.calls, "cost_usd": answer.cost_usd}
            return Redesign((*proposed, Proposed(spec.name, attempt, ProposalState.NOT_RUN, why, useless, **spent)))
        text = answer.value.expression
        shared: dict[str, Any] = {
            "text": text, "idea": answer.value.idea, "model": answer.model, "calls": answer.calls,
            "cost_usd": answer.cost_usd,
        }  # fmt: skip
        try:
            definition = judged(text, answer.value.idea, spec, symbols, market, seed)
        except (StrategyError, ValueError) as error:
            proposed.append(Proposed(spec.name, attempt, ProposalState.REFUSED, str(error), useless, **shared))
            prompt = prompt.again(text, str(error))
            continue
        sound = Proposed(
            spec.name, attempt, ProposalState.SOUND, "may be an input", useless, name=definition.pattern, **shared
        )
        return Redesign((*proposed, sound), definition)
    return Redesign(tuple(proposed))


def judged(text: str, idea: str, spec: ModelSpec, symbols: Sequence[str], market: Market, seed: int) -> Definition:
    """Compile and check a feature proposed as a text.

    Parameters
    ----------
    text : str
        Expression of the strategy language.
    idea : str
        Its description.
    spec : ModelSpec
        The model whose input it would be.
    symbols : sequence of str
        Symbols that are traded.
    market : Market
        Data of the checks.
    seed : int
        Seed of the checks.

    Returns
    -------
    Definition
        The feature.

    Raises
    ------
    StrategyError
        If the text is not an expression of the language, reads a symbol that is not traded, fails in the sandbox,
        looks ahead, depends on the price level, is mostly null, or is an input already; the message says which.
    ValueError
        If a parameter of a feature is out of range.
    """
    # in the child process before anything of the text runs here
    trial = trial_problem(text, sample_of(market), spec.timeframe, seed=seed)
    if trial:
        raise StrategyError(trial)
    definition = written_feature(text, idea)
    if definition.pattern in spec.inputs:
        msg = "the model has this input already; propose another"
        raise StrategyError(msg)
    read = {request.symbol for request in standard_registry().requests(reads_of(definition)) if request.symbol}
    if not read <= set(symbols):
        msg = f"it reads {', '.join(sorted(read - set(symbols)))}; there are {', '.join(sorted(symbols))}"
        raise StrategyError(msg)
    findings = problems(definition, market, timeframes=(spec.timeframe,), seed=seed)
    if findings:
        raise StrategyError("; ".join(findings))
    return definition


def _prompt(store: Warehouse, spec: ModelSpec, until: datetime, as_of: datetime, worth: pl.DataFrame) -> Prompt:
    model = MODELS[spec.type]
    about = {
        "name": spec.name, "timeframe": spec.timeframe, "predicts": model.event, "horizon_bars": spec.horizon,
        "inputs": list(spec.inputs), "written": {name: written.text for name, written in spec.written.items()},
    }  # fmt: skip
    return feature_prompt(
        model=about,
        importance=_told(worth),
        drift=_told(store.read(_DRIFT, [spec.name, until])),
        lessons=lessons(store, as_of),
    )


def _told(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as a prompt shows them: four digits, times as text."""
    return [
        {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in row.items()}
        for row in rows.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%d %H:%M")).iter_rows(named=True)
    ]


def written_rows(
    redesigns: Sequence[Redesign], outcomes: Mapping[str, tuple[str, str]], as_of: datetime, snapshot: int
) -> pl.DataFrame:
    """Return `ml.written_inputs`.

    Parameters
    ----------
    redesigns : sequence of Redesign
        Answers by model.
    outcomes : mapping of str to (decision, reason)
        Result of the search for a sound input, by model.
    as_of : datetime
        As-of of the cycle.
    snapshot : int
        Snapshot that the cycle read.

    Returns
    -------
    DataFrame
        One row per proposal.
    """
    rows = []
    for proposal in (proposed for redesigned in redesigns for proposed in redesigned.proposed):
        decision, reason = (
            outcomes[proposal.model_name] if proposal.state == ProposalState.SOUND else (None, proposal.reason)
        )
        rows.append(
            {
                "as_of": as_of,
                "model_name": proposal.model_name,
                "attempt": proposal.attempt,
                "author": Author.CLAUDE,
                "state": proposal.state,
                "name": proposal.name,
                "text": proposal.text,
                "text_hash": None if proposal.text is None else text_hash(proposal.text),
                "idea": cut(proposal.idea),
                "instead_of": json.dumps(proposal.instead_of),
                "reason": cut(reason),
                "decision": decision,
                "model": proposal.model,
                "calls": json.dumps(proposal.calls) if proposal.calls else None,
                "cost_usd": proposal.cost_usd,
                "snapshot_id": snapshot,
            }
        )
    return pl.DataFrame(rows, schema=_ROWS)


_TEXTS: Final = ("name", "text", "text_hash", "idea", "instead_of", "reason", "decision", "model", "calls")
_ROWS: Final = pl.Schema(
    {
        "as_of": TS,
        "model_name": pl.String(),
        "attempt": pl.Int32(),
        "author": pl.String(),
        "state": pl.String(),
        **dict.fromkeys(_TEXTS, pl.String()),
        "cost_usd": pl.Float64(),
        "snapshot_id": pl.Int64(),
    }
)
