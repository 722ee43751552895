"""A trained model as a folder that can be read again and trusted.

Belongs here: the layout, the hashes, writing all or nothing, refusing what is damaged or foreign. Does not belong
here: what a model file holds (each model), which version is active (the warehouse's ledger).

`<root>/model_001` is a link to the current version in `<root>/.versions/model_001/<version>`; both are folders with
the model file, `config.json`, `metadata.json` and `README.md`. A link is replaced in one step, so that a reader finds
the old version or the new one, never neither, and a killed run leaves nothing half-written under that name.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from features.registry import definitions_hash
from model_zoo.base import Model, ModelError, ModelSpec
from model_zoo.calibration import Calibration
from model_zoo.catalog import MODELS, number
from model_zoo.trading import Threshold, Tradable, strategy_of

FORMAT: Final = "blofin-model/2"
"""Marks our artifacts; the number changes with the layout."""


@dataclass(frozen=True)
class Artifact:
    """A model with what is known about it.

    Attributes
    ----------
    path : Path
        Folder of this version.
    version : str
        Twelve hexadecimal digits of the SHA-256 of the model file and `config.json`.
    model : Model
        Ready to predict.
    threshold : Threshold
        Beyond which it trades.
    metadata : dict
        Data window, metrics, status, hashes.
    """

    path: Path
    version: str
    model: Model
    threshold: Threshold
    metadata: dict[str, Any]

    def as_strategy(self) -> Tradable:
        """Return the strategy that trades this model."""
        return strategy_of(self.model.spec.name, self.model, self.threshold, self.version)


def folder_name(spec: ModelSpec) -> str:
    """Return the folder of a model's identity, as `model_001`."""
    return f"model_{number(spec.type, spec.timeframe):03d}"


def config_of(model: Model, threshold: Threshold) -> dict[str, Any]:
    """Return what `config.json` holds: all that decides a prediction, apart from the model file."""
    return {
        "format": FORMAT,
        "spec": model.spec.to_json(),
        "calibration": asdict(model.calibration),
        "state": model.state(),
        "threshold": asdict(threshold),
        "features_hash": definitions_hash(model.spec.rests_on),
    }


def version_of(model: Model, threshold: Threshold) -> str:
    """Return the version of a trained model without keeping its files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save(folder)
        _dump(folder / "config.json", config_of(model, threshold))
        return _version(folder, model.file)


def save_artifact(
    root: Path, model: Model, threshold: Threshold, metadata: Mapping[str, Any], *, current: bool = True
) -> Artifact:
    """Write a trained model, all or nothing.

    Parameters
    ----------
    root : Path
        Folder of all models, as `warehouse/models`.
    model, threshold
        Trained and chosen.
    metadata : mapping of str to JSON value
        Data window, snapshot, metrics, checks, status.
    current : bool
        Whether `model_NNN` is to lead to this version; false when an older cycle is computed again.

    Returns
    -------
    Artifact
        As `load_artifact` would return it. Saving the same model again changes nothing but the metadata.
    """
    name = folder_name(model.spec)
    versions = root / ".versions" / name
    versions.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=versions))
    try:
        model.save(draft)
        _dump(draft / "config.json", config_of(model, threshold))
        version = _version(draft, model.file)
        (draft / "README.md").write_text(_readme(model, name, version, metadata), encoding="utf-8")
        hashes = {file: _sha256(draft / file) for file in (model.file, "config.json", "README.md")}
        full = {**metadata, "format": FORMAT, "model": name, "version": version, "sha256": hashes}
        _dump(draft / "metadata.json", full)
        draft.chmod(0o755)
        target = versions / version
        _move_into_place(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    if current:
        _point(root / name, target)
    return Artifact(target, version, model, threshold, full)


def load_artifact(folder: Path) -> Artifact:
    """Return the model of a folder that `save_artifact` wrote.

    Parameters
    ----------
    folder : Path
        `model_NNN` or one of its versions.

    Raises
    ------
    ModelError
        If a file is missing, was changed since, is not one of ours, belongs to another model, or was made with other
        definitions of its features than today's. The message names the file and the reason.
    """
    metadata = _read_json(folder / "metadata.json")
    if metadata.get("format") != FORMAT:
        _refuse(folder, f"metadata.json has format {metadata.get('format')!r}, not {FORMAT!r}: made by something else")
    for file, digest in dict(metadata["sha256"]).items():
        if Path(file).name != file or not (folder / file).is_file():
            _refuse(folder, f"{file} is missing")
        if _sha256(folder / file) != digest:
            _refuse(folder, f"{file} was changed after it was written")
    config = _read_json(folder / "config.json")
    spec = ModelSpec.from_json(config["spec"])
    if spec.type not in MODELS:
        _refuse(folder, f"config.json names the model type {spec.type!r}; there is {', '.join(MODELS)}")
    if metadata["model"] != folder_name(spec):
        _refuse(folder, f"metadata.json is of {metadata['model']}, config.json of {folder_name(spec)}")
    if config["features_hash"] != definitions_hash(spec.rests_on):
        _refuse(folder, "its features are defined differently today; train it again")
    model = MODELS[spec.type].load(folder, spec, Calibration(**config["calibration"]), config["state"])
    version = _version(folder, model.file)
    if version != metadata["version"]:
        _refuse(folder, f"metadata.json says version {metadata['version']}, the files are {version}")
    return Artifact(folder.resolve(), version, model, Threshold(**config["threshold"]), metadata)


def _refuse(folder: Path, reason: str) -> None:
    msg = f"{folder}: {reason}"
    raise ModelError(msg)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"{path.parent}: {path.name} is missing; not a model folder, or a damaged one"
        raise ModelError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path}: not readable as JSON: {error}"
        raise ModelError(msg) from error
    if not isinstance(given, dict):
        msg = f"{path}: holds no JSON object"
        raise ModelError(msg)
    return given


def _dump(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(
        json.dumps(content, indent=2, sort_keys=True, allow_nan=False, default=str) + "\n", encoding="utf-8"
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(folder: Path, file: str) -> str:
    return hashlib.sha256((_sha256(folder / file) + _sha256(folder / "config.json")).encode()).hexdigest()[:12]


def _move_into_place(draft: Path, target: Path) -> None:
    """Rename the draft to its version; where that version is there already, only its descriptions are replaced."""
    try:
        draft.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        for file in sorted(draft.iterdir(), key=lambda path: path.name == "metadata.json"):
            file.replace(target / file.name)


def _point(link: Path, target: Path) -> None:
    """Make `link` lead to `target` in one step."""
    if link.is_dir() and not link.is_symlink():
        msg = f"{link}: is a folder of its own, not a link to a version; move it away"
        raise ModelError(msg)
    fresh = link.with_name(f".{link.name}.{os.getpid()}.link")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
    fresh.replace(link)


def _readme(model: Model, name: str, version: str, metadata: Mapping[str, Any]) -> str:
    spec = model.spec
    about = (type(model).__doc__ or "").splitlines()[0]
    lines = [
        f"# {name}: {spec.name}",
        "",
        about,
        "",
        f"Version {version}. Predicts, at the close of each {spec.timeframe} bar, the probability that {model.event}",
        f"(horizon {spec.horizon} bars); all symbols pooled.",
        "",
        *(f"- {key}: {value}" for key, value in metadata.items() if isinstance(value, str | int | float | bool)),
        "",
        f"- `{model.file}`: what was fitted, without pickle",
        "- `config.json`: features, hyper-parameters, label, horizon, seed, calibration, trading threshold",
        "- `metadata.json`: data window, metrics, checks, status, hashes",
        "",
        "Inputs: " + ", ".join(f"`{each}`" for each in spec.inputs),
        *_written(spec),
    ]
    return "\n".join(lines) + "\n"


def _written(spec: ModelSpec) -> list[str]:
    """Return the texts among the inputs, as an indented block: whatever they hold, it stays text."""
    lines = [f"    {name} = {' '.join(each.text.split())}" for name, each in spec.written.items()]
    return ["", "Written as text, compiled and never executed:", "", *lines] if lines else []
