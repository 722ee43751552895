"""The response to models that drift: retraining, then a search for a challenger.

Belongs here: reading `research.drift_tests` and `ml.model_tuning`, which specification is in force, the rows of
a response. Does not belong here: what is due and the search (`model_zoo.training.tuning`), the drift tests.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from blofin_assets.ml_cycle.llm_features import Redesign, importance_known, redesign
from blofin_assets.shared.backtest_rows import row_id
from blofin_assets.shared.feature_registry import known_features
from blofin_assets.shared.fence import Failed, fenced
from blofin_assets.shared.llm_session import LlmSession
from blofin_assets.shared.vocabulary import Author, Choice, DriftAction, Kind, Purpose
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import TS
from features.registry import Registry
from model_zoo.datasets.folds import HOLDOUT_DAYS
from model_zoo.evaluation.importance import Suggestion
from model_zoo.models.base import ModelError, ModelSpec
from model_zoo.training.tuning import (
    BUDGET,
    Challenge,
    DriftState,
    challenge,
    drift_state,
    fingerprint,
    require_history,
    to_search,
    windows,
)

NO_DRIFT: Final = "no drift"

# drift tests run after the cycle of the same as-of, so a repeated cycle must not read them either
_TESTED: Final = (
    "SELECT name, as_of, bool_or(decision = 'drift') AS drifted FROM research.drift_tests "
    "WHERE kind = 'model' AND decision <> 'insufficient' AND as_of < ? GROUP BY name, as_of ORDER BY name, as_of"
)
_SEARCHED: Final = (
    "SELECT model_name, max(as_of) AS as_of FROM ml.model_tuning WHERE action = 'searched' AND as_of < ? "
    "GROUP BY model_name"
)
_ADOPTED: Final = (
    "SELECT model_name, spec FROM ml.model_tuning WHERE decision = 'adopted' AND as_of <= ? ORDER BY as_of DESC"
)


@dataclass(frozen=True, eq=False)
class Answer:
    """The response to one model that drifts.

    Attributes
    ----------
    name : str
        Name of the model.
    action : DriftAction
        The action.
    reason : str
        The reason and the result.
    challenge : Challenge or None
        The challenger, if there was a search.
    redesign : Redesign or None
        The new input, if one was requested.
    """

    name: str
    action: DriftAction
    reason: str
    challenge: Challenge | None = None
    redesign: Redesign | None = None

    @property
    def outcome(self) -> tuple[Choice, str]:
        """Whether the search adopted a written input, and why."""
        search = self.challenge
        if search is None or self.redesign is None:
            return Choice.KEPT, self.reason
        if not set(self.redesign.inputs) & set(search.challenger.inputs):
            return Choice.KEPT, "the search did better without it"
        return (Choice.ADOPTED if search.adopted else Choice.KEPT), self.reason


def specs_in_force(
    store: Warehouse, defaults: Iterable[ModelSpec], as_of: datetime, registry: Registry
) -> dict[str, ModelSpec]:
    """Return the specifications that a cycle trains: the last one adopted before its holdout, else the default.

    The data on which a specification was adopted ends where the holdout begins, so the choice does not see the
    holdout. A specification with an input that no longer compiles is skipped.

    Parameters
    ----------
    store : Warehouse
        Where adopted specifications are stored.
    defaults : iterable of ModelSpec
        The default specifications.
    as_of : datetime
        As-of of the cycle.
    registry : Registry
        The known features.

    Returns
    -------
    dict of str to ModelSpec
        By name.
    """
    patterns = {feature.pattern for feature in registry}
    specs = {spec.name: spec for spec in defaults}
    open_names = set(specs)
    for name, text in store.read(_ADOPTED, [as_of - HOLDOUT_DAYS]).iter_rows():
        if name not in open_names:  # specifications of other models, and older ones, are not parsed
            continue
        spec = ModelSpec.from_json(json.loads(text))
        if patterns.issuperset(spec.written):
            specs[name] = spec
            open_names.discard(name)
    return specs


def answer_drift(
    store: Warehouse,
    symbols: Sequence[str],
    specs: Mapping[str, ModelSpec],
    as_of: datetime,
    budget: int = BUDGET,
    asker: LlmSession | None = None,
) -> list[Answer]:
    """Respond to every model that drifts, according to the drift tests before an as-of.

    Parameters
    ----------
    store : Warehouse
        Where drift tests, candles and importances are stored.
    symbols : sequence of str
        Symbols whose bars are pooled.
    specs : mapping of str to ModelSpec
        Specification in force, by model.
    as_of : datetime
        As-of of the cycle; only earlier drift tests are read.
    budget : int
        Specifications that a search tries per model.
    asker : LlmSession, optional
        Claude for this stage, who may propose an input of each.

    Returns
    -------
    list of Answer
        One per drifting model.
    """
    tested: dict[str, list[tuple[datetime, bool]]] = {}
    for name, tested_at, drifted in store.read(_TESTED, [as_of]).iter_rows():
        tested.setdefault(name, []).append((tested_at, drifted))
    states: dict[str, DriftState] = {name: drift_state(tested.get(name, []), as_of) for name in specs}
    searched: dict[str, datetime] = dict(store.read(_SEARCHED, [as_of]).iter_rows())
    chosen = to_search(states, searched, as_of)
    answers = []
    for name in sorted(specs):
        if name in chosen:
            answer = fenced(_searched, store, symbols, specs[name], as_of, budget, asker)
            failed = f"drift persists, but the search failed: {getattr(answer, 'reason', '')}"
            answers.append(Answer(name, DriftAction.RETRAINED, failed) if isinstance(answer, Failed) else answer)
        elif states[name] == DriftState.FIRST:
            answers.append(Answer(name, DriftAction.RETRAINED, "first drift: this cycle retrained it"))
        elif states[name] == DriftState.PERSISTS:
            answers.append(
                Answer(
                    name,
                    DriftAction.RETRAINED,
                    "drift persists; no search is due yet: one ran recently, or other models come first",
                )
            )
    return answers


def _searched(
    store: Warehouse, symbols: Sequence[str], spec: ModelSpec, as_of: datetime, budget: int, asker: LlmSession | None
) -> Answer:
    until = windows(as_of)[0].end
    worth = importance_known(store, spec.name, until)
    drop = worth.filter(pl.col("suggestion") == Suggestion.DROP)["feature"].to_list()
    try:
        require_history(FeatureManager(store, as_of=as_of), symbols, spec, as_of)
        new = None if asker is None else redesign(store, symbols, spec, until, asker, spec.seed)
        registry = known_features(store, *([new.definition] if new is not None and new.definition is not None else []))
        manager = FeatureManager(store, as_of, registry)
        add = {} if new is None else new.inputs
        search = challenge(manager, symbols, as_of, spec, drop=drop, add=add, budget=budget)
    except ModelError as error:
        return Answer(spec.name, DriftAction.RETRAINED, f"drift persists, but there was no search: {error}")
    if search.challenger == search.champion:
        reason = "no specification did better on the search's validation folds"
    elif search.adopted:
        reason = (
            f"the challenger gained {search.gain:.5f} nats on unseen days, with a lower bound of {search.gain_low:.5f}"
        )
    else:
        gained = (
            "no row"
            if search.gain is None
            else f"{search.gain:+.5f} nats, with a lower bound of {search.gain_low:+.5f}"
        )
        reason = f"the challenger is not significantly better on unseen days: {gained}"
    text = f"drift persists after retraining; {reason}{_about(new, search)}"
    return Answer(spec.name, DriftAction.SEARCHED, text, search, new)


def _about(new: Redesign | None, search: Challenge) -> str:
    """Return the outcome of a written input, in words."""
    if new is None:
        return ""
    last = new.proposed[-1]
    if new.definition is None:
        refused = [proposal.reason for proposal in new.proposed if proposal.text is not None]
        return f"; no new input: {'refused: ' if refused else ''}{(refused or [last.reason])[-1]}"
    name = new.definition.pattern
    part = "is part of the challenger" if name in search.challenger.inputs else "did not help on the search's folds"
    return f"; the input {name}, written by {Author.CLAUDE}, {part}"


def tuning_rows(answers: Sequence[Answer], store: Warehouse, as_of: datetime, snapshot: int) -> pl.DataFrame:
    """Return the rows of `ml.model_tuning`.

    Parameters
    ----------
    answers : sequence of Answer
        Responses to drifting models.
    store : Warehouse
        Where earlier reports are read.
    as_of : datetime
        As-of of the cycle.
    snapshot : int
        Snapshot that the cycle read.

    Returns
    -------
    DataFrame
        One row per answer.
    """
    versions = dict(
        store.read("SELECT model_name, version FROM ml.ml_model_results WHERE as_of = ?", [as_of]).iter_rows()
    )
    rows = []
    for answer in answers:
        search = answer.challenge
        other = search is not None and search.challenger != search.champion
        rows.append(
            {
                "id": row_id("model tuning", as_of, answer.name),
                "as_of": as_of,
                "model_name": answer.name,
                "action": answer.action,
                "decision": Choice.ADOPTED if search is not None and search.adopted else Choice.KEPT,
                "reason": answer.reason,
                "champion": versions.get(answer.name),
                "challenger": fingerprint(search.challenger) if search is not None and other else None,
                "spec": json.dumps(search.challenger.to_json(), sort_keys=True)
                if search is not None and other
                else None,
                "trials": len(search.tried) if search is not None else 0,
                "champion_log_loss": getattr(search, "champion_log_loss", None),
                "challenger_log_loss": getattr(search, "challenger_log_loss", None),
                "gain": getattr(search, "gain", None),
                "gain_low": getattr(search, "gain_low", None),
                "judged_start": search.test_window.start if search is not None and other else None,
                "judged_end": search.test_window.end if search is not None and other else None,
                "rows_judged": search.rows if search is not None and other else None,
                "snapshot_id": snapshot,
            }
        )
    return pl.DataFrame(rows, schema=_TUNING)


def search_trials(answers: Sequence[Answer], as_of: datetime, snapshot: int) -> pl.DataFrame:
    """Return the rows of `research.trials` of model searches: each specification, on the window that it saw.

    Parameters
    ----------
    answers : sequence of Answer
        Responses to drifting models, with their searches.
    as_of : datetime
        As-of of the cycle.
    snapshot : int
        Snapshot that the cycle read.

    Returns
    -------
    DataFrame
        With purpose `search`: they do not count as trials on the holdout.
    """
    rows = [
        {
            "id": row_id("trial", Kind.MODEL, Author.MODEL_TUNING, as_of, tried.spec.name, fingerprint(tried.spec)),
            "as_of": as_of,
            "kind": Kind.MODEL,
            "author": Author.MODEL_TUNING,
            "name": tried.spec.name,
            "version": fingerprint(tried.spec),
            "params": json.dumps(dict(tried.spec.hyper), sort_keys=True),
            "window_start": answer.challenge.searched.start,
            "window_end": answer.challenge.searched.end,
            "snapshot_id": snapshot,
            "lanes": "",
            "purpose": Purpose.SEARCH,
        }
        for answer in answers
        if answer.challenge is not None
        for tried in answer.challenge.tried
    ]
    return pl.DataFrame(rows, schema=_TRIALS)


_TUNING: Final = pl.Schema(
    {
        "id": pl.String(),
        "as_of": TS,
        "model_name": pl.String(),
        "action": pl.String(),
        "decision": pl.String(),
        "reason": pl.String(),
        "champion": pl.String(),
        "challenger": pl.String(),
        "spec": pl.String(),
        "trials": pl.Int32(),
        "champion_log_loss": pl.Float64(),
        "challenger_log_loss": pl.Float64(),
        "gain": pl.Float64(),
        "gain_low": pl.Float64(),
        "judged_start": TS,
        "judged_end": TS,
        "rows_judged": pl.Int32(),
        "snapshot_id": pl.Int64(),
    }
)
_TRIALS: Final = pl.Schema(
    {
        "id": pl.String(),
        "as_of": TS,
        "kind": pl.String(),
        "author": pl.String(),
        "name": pl.String(),
        "version": pl.String(),
        "params": pl.String(),
        "window_start": TS,
        "window_end": TS,
        "snapshot_id": pl.Int64(),
        "lanes": pl.String(),
        "purpose": pl.String(),
    }
)
