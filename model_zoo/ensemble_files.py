"""Ensembles as files beside the models that they are made of.

Belongs here: `ensemble_NNN.json` (what it is) and `ensemble_NNN_results.json` (how it did), in the order of rank.
Does not belong here: members' files (`model_zoo.artifacts`), combining (`model_zoo.ensembles`).
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from model_zoo.artifacts import Artifact, folder_name, load_artifact
from model_zoo.base import ModelError
from model_zoo.calibration import Calibration
from model_zoo.ensembles import METHODS, Ensemble, Member, Rule, Tried
from model_zoo.trading import Threshold

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
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path}: not readable as JSON: {error}"
        raise ModelError(msg) from error
    if not isinstance(given, dict) or given.get("format") != FORMAT or given.get("method") not in METHODS:
        msg = f"{path}: not an ensemble of format {FORMAT}: made by something else"
        raise ModelError(msg)
    if given.pop("sha256", None) != _digest(given):
        msg = f"{path}: was changed after it was written"
        raise ModelError(msg)
    return ensemble_of(given, path.parent.parent, load_artifact)


def full_definition(ensemble: Ensemble) -> dict[str, Any]:
    """Return all that `ensemble_of` needs, as plain JSON values."""
    return {
        **ensemble.definition(),
        "version": ensemble.version,
        "models": [folder_name(each.model.spec) for each in ensemble.members],
        "base_rates": [each.base_rate for each in ensemble.members],
    }


def ensemble_of(given: Mapping[str, Any], root: Path, load: Callable[[Path], Artifact]) -> Ensemble:
    """Return the ensemble of a full definition, ready to predict.

    Parameters
    ----------
    given : mapping of str to JSON value
        As `full_definition` gave it.
    root : Path
        Folder of all models.
    load : callable
        How a member's folder is read: `load_artifact`, or one that remembers.

    Raises
    ------
    ModelError
        If a member is missing or was changed since.
    """
    members = []
    for folder, version, rate in zip(given["models"], given["versions"], given["base_rates"], strict=True):
        artifact = load(root / ".versions" / folder / version)
        members.append(Member(artifact.model, artifact.threshold, artifact.version, rate, pl.DataFrame()))
    rule = Rule(given["method"], tuple(given["weights"]), Calibration(**given["calibration"]))
    return Ensemble(tuple(members), rule, Threshold(**given["threshold"]))


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    draft.replace(path)
