"""Drift tests of models, and what is done about them, as rows of the warehouse.

Belongs here: reading `research.drift` and `ml.model_tuning`, which specification is in force, the rows of an answer.
Does not belong here: what is due and the search (`model_zoo.tuning`), the drift tests.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from blofin_assets.assets.results import row_id
from blofin_assets.evolution.asking import Asker
from blofin_assets.evolution.inputs import AUTHOR, Redesign, importance_known, redesign
from blofin_assets.trials import SEARCH
from blofin_assets.written_inputs import known_features
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import TS
from features.registry import Registry
from model_zoo.base import ModelError, ModelSpec
from model_zoo.folds import HOLDOUT_DAYS
from model_zoo.tuning import (
    BUDGET,
    Challenge,
    State,
    challenge,
    drift_state,
    fingerprint,
    require_history,
    to_search,
    windows,
)

NO_DRIFT: Final = "no drift"
RETRAINED: Final = "retrained"
SEARCHED: Final = "searched"
ADOPTED: Final = "adopted"
KEPT: Final = "kept"

# a night is tested after the cycle of the same as-of: one that is made again must not know it either
_NIGHTS: Final = (
    "SELECT name, as_of, bool_or(decision = 'drift') AS drifted FROM research.drift "
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
    """What was done about one model.

    Attributes
    ----------
    name : str
        Of the model.
    action : str
        'retrained' or 'searched'.
    reason : str
        Why, and what came of it.
    challenge : Challenge or None
        Of a search.
    redesign : Redesign or None
        Of the search's inputs, where anybody was asked for one.
    """

    name: str
    action: str
    reason: str
    challenge: Challenge | None = None
    redesign: Redesign | None = None

    @property
    def outcome(self) -> tuple[str, str]:
        """What the search made of a written input: adopted or kept, and why."""
        found = self.challenge
        if found is None or self.redesign is None:
            return KEPT, self.reason
        if not set(self.redesign.inputs) & set(found.challenger.inputs):
            return KEPT, "the search did better without it"
        return (ADOPTED if found.adopted else KEPT), self.reason


def specs_in_force(
    store: Warehouse, defaults: Iterable[ModelSpec], as_of: datetime, known: Registry
) -> dict[str, ModelSpec]:
    """Return by name the specifications that a cycle trains: the last adopted before its holdout, else the default.

    The days that a specification was adopted on end where the holdout begins, so that it is unseen by the choice, too.
    One with an input that is unknown, since its text is not taken by the language any more, is passed over.
    """
    patterns = {each.pattern for each in known}
    found = {each.name: each for each in defaults}
    open_names = set(found)
    for name, text in store.read(_ADOPTED, [as_of - HOLDOUT_DAYS]).iter_rows():
        if name not in open_names:  # what is not asked for, or older than what was found, need not be readable any more
            continue
        spec = ModelSpec.from_json(json.loads(text))
        if patterns.issuperset(spec.written):
            found[name] = spec
            open_names.discard(name)
    return found


def answer_drift(
    store: Warehouse,
    symbols: Sequence[str],
    specs: Mapping[str, ModelSpec],
    as_of: datetime,
    budget: int = BUDGET,
    asker: Asker | None = None,
) -> list[Answer]:
    """Return what is done about every model that drifts as of T, by the nights before; nothing where none does.

    Parameters
    ----------
    store : Warehouse
        Of the drift tests, candles and importances.
    symbols : sequence of str
        Pooled.
    specs : mapping of str to ModelSpec
        In force, by model.
    as_of : datetime
        T.
    budget : int
        Specifications tried for each model that is searched for.
    asker : Asker, optional
        Who is asked for an input of each of these.
    """
    nights: dict[str, list[tuple[datetime, bool]]] = {}
    for name, night, drifted in store.read(_NIGHTS, [as_of]).iter_rows():
        nights.setdefault(name, []).append((night, drifted))
    states: dict[str, State] = {name: drift_state(nights.get(name, []), as_of) for name in specs}
    searched: dict[str, datetime] = dict(store.read(_SEARCHED, [as_of]).iter_rows())
    chosen = to_search(states, searched, as_of)
    answers = []
    for name in sorted(specs):
        if name in chosen:
            answers.append(_searched(store, symbols, specs[name], as_of, budget, asker))
        elif states[name] == "drifts":
            answers.append(Answer(name, RETRAINED, "drift was found for the first time: this cycle trained it anew"))
        elif states[name] == "persists":
            answers.append(
                Answer(name, RETRAINED, "drift persists; a search is not due yet: one ran lately, or others come first")
            )
    return answers


def _searched(
    store: Warehouse, symbols: Sequence[str], spec: ModelSpec, as_of: datetime, budget: int, asker: Asker | None
) -> Answer:
    until = windows(as_of)[0].end
    worth = importance_known(store, spec.name, until)
    drop = worth.filter(pl.col("suggestion") == "drop")["feature"].to_list()
    try:
        require_history(FeatureManager(store, as_of=as_of), symbols, spec, as_of)
        new = None if asker is None else redesign(store, symbols, spec, until, asker, spec.seed)
        known = known_features(store, *([new.definition] if new is not None and new.definition is not None else []))
        manager = FeatureManager(store, as_of, known)
        add = {} if new is None else new.inputs
        found = challenge(manager, symbols, as_of, spec, drop=drop, add=add, budget=budget)
    except ModelError as error:
        return Answer(spec.name, RETRAINED, f"drift persists, but there was no search: {error}")
    if found.challenger == found.champion:
        reason = "nothing that was tried did better on the search's validation folds"
    elif found.adopted:
        reason = (
            f"the challenger gained {found.gain:.5f} nats on days that neither had seen, at least {found.gain_low:.5f}"
        )
    else:
        gained = "no row" if found.gain is None else f"{found.gain:+.5f} nats, surely only {found.gain_low:+.5f}"
        reason = f"the challenger is not surely better on days that neither had seen: {gained}"
    told = f"drift persists after retraining; {reason}{_about(new, found)}"
    return Answer(spec.name, SEARCHED, told, found, new)


def _about(new: Redesign | None, found: Challenge) -> str:
    """Say what became of a written input."""
    if new is None:
        return ""
    last = new.proposed[-1]
    if new.definition is None:
        refused = [each.reason for each in new.proposed if each.text is not None]
        return f"; no new input: {'refused: ' if refused else ''}{(refused or [last.reason])[-1]}"
    name = new.definition.pattern
    part = "is part of the challenger" if name in found.challenger.inputs else "did not help on the search's folds"
    return f"; the input {name}, written by {AUTHOR}, {part}"


def tuning_rows(answers: Sequence[Answer], store: Warehouse, as_of: datetime, snapshot: int) -> pl.DataFrame:
    """Return `ml.model_tuning`."""
    versions = dict(
        store.read("SELECT model_name, version FROM ml.ml_model_results WHERE as_of = ?", [as_of]).iter_rows()
    )
    rows = []
    for each in answers:
        found = each.challenge
        other = found is not None and found.challenger != found.champion
        rows.append(
            {
                "id": row_id("model tuning", as_of, each.name),
                "as_of": as_of,
                "model_name": each.name,
                "action": each.action,
                "decision": ADOPTED if found is not None and found.adopted else KEPT,
                "reason": each.reason,
                "champion": versions.get(each.name),
                "challenger": fingerprint(found.challenger) if found is not None and other else None,
                "spec": json.dumps(found.challenger.to_json(), sort_keys=True) if found is not None and other else None,
                "trials": len(found.tried) if found is not None else 0,
                "champion_log_loss": getattr(found, "champion_log_loss", None),
                "challenger_log_loss": getattr(found, "challenger_log_loss", None),
                "gain": getattr(found, "gain", None),
                "gain_low": getattr(found, "gain_low", None),
                "judged_start": found.judged.start if found is not None and other else None,
                "judged_end": found.judged.end if found is not None and other else None,
                "rows_judged": found.rows if found is not None and other else None,
                "snapshot_id": snapshot,
            }
        )
    return pl.DataFrame(rows, schema=_TUNING)


def search_trials(answers: Sequence[Answer], as_of: datetime, snapshot: int) -> pl.DataFrame:
    """Return `research.trials`: each specification of a search, on the window that it saw; no exam's try."""
    rows = [
        {
            "id": row_id("trial", "model", "tuning", as_of, tried.spec.name, fingerprint(tried.spec)),
            "as_of": as_of,
            "kind": "model",
            "author": "tuning",
            "name": tried.spec.name,
            "version": fingerprint(tried.spec),
            "params": json.dumps(dict(tried.spec.hyper), sort_keys=True),
            "window_start": each.challenge.searched.start,
            "window_end": each.challenge.searched.end,
            "snapshot_id": snapshot,
            "lanes": "",
            "purpose": SEARCH,
        }
        for each in answers
        if each.challenge is not None
        for tried in each.challenge.tried
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
