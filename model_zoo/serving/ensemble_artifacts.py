"""Ensembles as files beside their member models.

Belongs here: `ensemble_NNN.json` (definition) and `ensemble_NNN_results.json` (results), in the order of rank.
Does not belong here: members' files (`model_zoo.serving.artifacts`), combining (`model_zoo.ensembles`).
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_zoo.ensembles import METHODS, Ensemble, Member, Method, Rule, Tried
from model_zoo.models.base import ModelError
from model_zoo.models.calibration import Calibration
from model_zoo.serving.artifacts import Artifact, folder_name, load_artifact, read_file, version_folder
from model_zoo.serving.model_strategy import Threshold

FORMAT: Final = "blofin-ensemble/1"
"""Marks our files; the number changes with the layout."""
FOLDER: Final = "ensembles"
"""Inside the folder of models."""


def save_ensembles(root: Path, best: Sequence[Tried], as_of: datetime) -> list[Path]:
    """Write a cycle's best ensembles in the order given, in place of the last cycle's.

    Parameters
    ----------
    root : Path
        Folder of all models, as `warehouse/models`.
    best : sequence of Tried
        Best first.
    as_of : datetime
        Of the cycle.

    Returns
    -------
    list of Path
        `ensemble_001.json` and so on. Each file is replaced in one step; files of further ranks are removed.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, tried in enumerate(best, 1):
        ensemble, pooled = tried.ensemble, tried.evaluation.pooled
        definition = {**full_definition(ensemble), "format": FORMAT, "as_of": as_of.isoformat()}
        results = {
            "name": ensemble.name,
            "version": ensemble.version,
            "as_of": as_of.isoformat(),
            "rank": number,
            "validation": tried.validation.to_json(),
            "metrics": tried.metrics.to_json(),
            "backtest": None if pooled is None else {name: getattr(pooled, name) for name in _BACKTEST},
            "better_than_baseline": tried.metrics.better,
        }
        path = folder / f"ensemble_{number:03d}.json"
        _replace(path, definition | {"sha256": _digest(definition)})
        _replace(folder / f"{path.stem}_results.json", results)
        paths.append(path)
    for stale in folder.glob("ensemble_*.json"):
        if stale.stem.removesuffix("_results") not in {path.stem for path in paths}:
            stale.unlink()
    return paths


_BACKTEST: Final = ("win_rate", "avg_pnl_pct", "sharpe", "max_drawdown", "trades", "score")


def load_ensemble(path: Path) -> Ensemble:
    """Return the ensemble of a file that `save_ensembles` wrote, ready to predict.

    Raises
    ------
    ModelError
        If the file or a member is missing, was changed since, or is not one of ours; with the reason.
    """
    try:
        stored = json.loads(read_file(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path}: not readable as JSON: {error}"
        raise ModelError(msg) from error
    if not isinstance(stored, dict) or stored.get("format") != FORMAT or stored.get("method") not in METHODS:
        msg = f"{path}: not an ensemble of format {FORMAT}; it was written by other software"
        raise ModelError(msg)
    if stored.pop("sha256", None) != _digest(stored):
        msg = f"{path}: has changed since it was written"
        raise ModelError(msg)
    try:
        return ensemble_of(stored, path.parent.parent, load_artifact)
    except ModelError as error:
        msg = f"{path}: {error}"
        raise ModelError(msg) from error


def full_definition(ensemble: Ensemble) -> dict[str, Any]:
    """Return all that `ensemble_of` needs, as plain JSON values."""
    return {
        **ensemble.definition(),
        "version": ensemble.version,
        "models": [folder_name(member.model.spec) for member in ensemble.members],
        "base_rates": [member.base_rate for member in ensemble.members],
    }


def ensemble_of(stored: Mapping[str, Any], root: Path, load: Callable[[Path], Artifact]) -> Ensemble:
    """Return the ensemble of a full definition, ready to predict.

    Parameters
    ----------
    stored : mapping of str to JSON value
        As `full_definition` gave it.
    root : Path
        Folder of all models.
    load : callable
        Reads a member's folder: `load_artifact`, or a cached version of it.

    Returns
    -------
    Ensemble
        Ready to predict.

    Raises
    ------
    ModelError
        If a member is missing or has changed since.
    """
    try:
        definition = _Definition.model_validate_json(json.dumps({name: stored[name] for name in _PARTS}))
    except (LookupError, TypeError, ValueError) as error:  # pydantic's is a ValueError
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"{type(error).__name__} {error}"
        msg = f"not the definition of an ensemble: {first}; materialise the ensembles again"
        raise ModelError(msg) from error
    members = []
    for folder, version, rate in zip(definition.models, definition.versions, definition.base_rates, strict=True):
        artifact = load(version_folder(root, folder, version))
        members.append(Member(artifact.model, artifact.threshold, artifact.version, rate, pl.DataFrame()))
    rule = Rule(definition.method, definition.weights, definition.calibration)
    ensemble = Ensemble(tuple(members), rule, definition.threshold)
    rebuilt = {**ensemble.definition(), "version": ensemble.version}
    wrong = [name for name, value in rebuilt.items() if stored.get(name) != value]
    if wrong:
        msg = f"not the definition of this ensemble: its members make another {', '.join(wrong)}; materialise it again"
        raise ModelError(msg)
    return ensemble


class _Definition(BaseModel):
    """Definition of an ensemble; a member is a folder inside that of all models."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    method: Method
    models: tuple[str, ...]
    versions: tuple[str, ...]
    base_rates: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    weights: tuple[float, ...]
    calibration: Calibration
    threshold: Threshold

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        count = len(self.models)
        lengths = {len(values) for values in (self.versions, self.base_rates, self.weights)}
        if not 1 < count <= MOST_MEMBERS or lengths != {count}:
            msg = f"{count} models, and versions, base rates and weights of {', '.join(map(str, sorted(lengths)))}"
            raise ValueError(msg)
        return self


_PARTS: Final = tuple(_Definition.model_fields)
MOST_MEMBERS: Final = 100
MOST_BYTES: Final = 1_000_000
"""Of the file of an ensemble."""


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    draft.replace(path)
