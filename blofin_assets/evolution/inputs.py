"""Inputs of models by Claude, where drift persists: asked for, judged, sent back once.

Belongs here: the order of these things for one model, and the rows of what came. Does not belong here: compiling and
the checks (`strategies.written_features`), whether an input helps (`model_zoo.tuning`), the words of the question
(`strategies.evolution.prompts`), the registry of what is on record (`blofin_assets.written_inputs`).

No look-ahead: the question rests on what was known when the search's window ended, three days before the as-of. The
days after that judge the challenger, and nothing of them is told; only that the model drifts is known from later.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from blofin_assets.evolution.asking import Asker
from blofin_assets.evolution.material import lessons
from blofin_assets.evolution.rows import REFUSED, SOUND, cut
from blofin_assets.evolution.windows import sample_of, validation_market
from blofin_resources.claude import Answer
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from features.definition import Definition
from features.market import Market
from features.registry import standard_registry
from model_zoo.base import ModelSpec, WrittenInput
from model_zoo.catalog import MODELS
from strategies.base import StrategyError
from strategies.evolution.answers import Input
from strategies.evolution.prompting import Prompt, feature_prompt
from strategies.written_features import problems, reads_of, text_hash, trial_problem, written_feature

NOT_RUN: Final = "not run"
AUTHOR: Final = "claude"
ROUNDS: Final = 2
"""The question, and one more where the answer was refused."""

_IMPORTANCE: Final = (
    "SELECT as_of, feature, importance, importance_sd, folds, folds_positive, suggestion FROM ml.feature_importance "
    "WHERE model_name = $1 AND as_of = (SELECT max(as_of) FROM ml.feature_importance WHERE model_name = $1 "
    "AND as_of <= $2) ORDER BY rank"
)
_NIGHTS: Final = (
    "SELECT as_of, metric, promise, forward, q, decision FROM research.drift WHERE kind = 'model' AND name = ? "
    "AND as_of <= ? ORDER BY as_of DESC, metric LIMIT 12"
)


@dataclass(frozen=True)
class Proposed:
    """One answer, or that there was none; the columns of `ml.written_inputs` explain each field."""

    model_name: str
    attempt: int
    state: str
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
    """What came of asking for a model.

    Attributes
    ----------
    proposed : tuple of Proposed
        At least one, in order.
    definition : Definition or None
        Of the sound one, if there is one: the last.
    """

    proposed: tuple[Proposed, ...]
    definition: Definition | None = None

    @property
    def inputs(self) -> dict[str, WrittenInput]:
        """What the search may take in, by name."""
        text = self.proposed[-1].text
        if self.definition is None or text is None:
            return {}
        return {self.definition.pattern: WrittenInput(text, reads_of(self.definition))}


def importance_known(store: Warehouse, name: str, until: datetime) -> pl.DataFrame:
    """Return what a model's inputs were worth in the last cycle at or before a time; best first."""
    return store.read(_IMPORTANCE, [name, until])


def redesign(
    store: Warehouse, symbols: Sequence[str], spec: ModelSpec, until: datetime, asker: Asker, seed: int
) -> Redesign:
    """Ask for an input of a model that drifts, in place of what is useless among its own.

    Parameters
    ----------
    store : Warehouse
        Of candles, importances, drift tests and lessons.
    symbols : sequence of str
        Pooled.
    spec : ModelSpec
        The champion.
    until : datetime
        End of the search's window; nothing later is told.
    asker : Asker
        Claude for this stage.
    seed : int
        Of the checks.
    """
    worth = importance_known(store, spec.name, until)
    useless = tuple(worth.filter(pl.col("suggestion") == "drop", pl.col("feature").is_in(spec.inputs))["feature"])
    if asker.over:
        return Redesign((Proposed(spec.name, 1, NOT_RUN, asker.detail, useless),))
    prompt = _prompt(store, spec, until, asker.as_of, worth)
    market = validation_market(store, symbols, until, [])
    proposed: list[Proposed] = []
    for attempt in range(1, ROUNDS + 1):
        came = asker.ask("designer", prompt, Input)
        if not isinstance(came, Answer):
            why = asker.detail if came is None else f"{came.reason}: {came.detail}"
            spent: dict[str, Any] = {} if came is None else {"calls": came.calls, "cost_usd": came.cost_usd}
            return Redesign((*proposed, Proposed(spec.name, attempt, NOT_RUN, why, useless, **spent)))
        text = came.value.expression
        told: dict[str, Any] = {
            "text": text, "idea": came.value.idea, "model": came.model, "calls": came.calls, "cost_usd": came.cost_usd
        }  # fmt: skip
        try:
            found = judged(text, came.value.idea, spec, symbols, market, seed)
        except (StrategyError, ValueError) as error:
            proposed.append(Proposed(spec.name, attempt, REFUSED, str(error), useless, **told))
            prompt = prompt.again(text, str(error))
            continue
        sound = Proposed(spec.name, attempt, SOUND, "may be an input", useless, name=found.pattern, **told)
        return Redesign((*proposed, sound), found)
    return Redesign(tuple(proposed))


def judged(text: str, idea: str, spec: ModelSpec, symbols: Sequence[str], market: Market, seed: int) -> Definition:
    """Return the feature that a text is, if it may be an input of a model.

    Raises
    ------
    StrategyError
        If it is no expression of the language, reads a symbol that is not traded here, fails in the child process,
        looks ahead, depends on the level of prices, is mostly unknown, or is an input already; the message says why.
    ValueError
        If it asks a feature for what it cannot give.
    """
    found = written_feature(text, idea)
    if found.pattern in spec.inputs:
        msg = "the model has this input already; propose another"
        raise StrategyError(msg)
    read = {each.symbol for each in standard_registry().requests(reads_of(found)) if each.symbol}
    if not read <= set(symbols):
        msg = f"it reads {', '.join(sorted(read - set(symbols)))}; there are {', '.join(sorted(symbols))}"
        raise StrategyError(msg)
    trial = trial_problem(text, sample_of(market), spec.timeframe, seed=seed)
    findings = [trial] if trial else problems(found, market, timeframes=(spec.timeframe,), seed=seed)
    if findings:
        raise StrategyError("; ".join(findings))
    return found


def _prompt(store: Warehouse, spec: ModelSpec, until: datetime, as_of: datetime, worth: pl.DataFrame) -> Prompt:
    model = MODELS[spec.type]
    about = {
        "name": spec.name, "timeframe": spec.timeframe, "predicts": model.event, "horizon_bars": spec.horizon,
        "inputs": list(spec.inputs), "written": {name: each.text for name, each in spec.written.items()},
    }  # fmt: skip
    nights = store.read(_NIGHTS, [spec.name, until])
    return feature_prompt(
        model=about,
        importance=_told(worth),
        drift=_told(nights),
        lessons=lessons(store, as_of),
    )


def _told(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as a question shows them: four digits, times as text."""
    return [
        {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in row.items()}
        for row in rows.with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%d %H:%M")).iter_rows(named=True)
    ]


def written_rows(
    made: Sequence[Redesign], outcomes: Mapping[str, tuple[str, str]], as_of: datetime, snapshot: int
) -> pl.DataFrame:
    """Return `ml.written_inputs`.

    Parameters
    ----------
    made : sequence of Redesign
        Of the models that were asked for.
    outcomes : mapping of str to (decision, reason)
        What the search made of a sound input, by model.
    as_of, snapshot
        Of the cycle.
    """
    rows = []
    for each in (proposed for found in made for proposed in found.proposed):
        decision, reason = outcomes[each.model_name] if each.state == SOUND else (None, each.reason)
        rows.append(
            {
                "as_of": as_of,
                "model_name": each.model_name,
                "attempt": each.attempt,
                "author": AUTHOR,
                "state": each.state,
                "name": each.name,
                "text": each.text,
                "text_hash": None if each.text is None else text_hash(each.text),
                "idea": cut(each.idea),
                "instead_of": json.dumps(each.instead_of),
                "reason": cut(reason),
                "decision": decision,
                "model": each.model,
                "calls": json.dumps(each.calls) if each.calls else None,
                "cost_usd": each.cost_usd,
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
