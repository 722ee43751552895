"""Artifacts: a trained model as a folder that is verified when it is loaded.

Belongs here: the layout, the hashes, atomic writes, rejecting damaged or foreign files. Does not belong here: what a
model file holds (each model), which version is active (the warehouse's ledger).

`<root>/model_001` is a link to the current version in `<root>/.versions/model_001/<version>`; both are folders with
the model file, `config.json`, `metadata.json` and `README.md`. A link is replaced atomically: a reader always finds
either the old version or the new one, and a killed run leaves no partial version under that name.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from features.registry import definitions_hash
from model_zoo.models.base import Model, ModelError, ModelSpec
from model_zoo.models.calibration import Calibration
from model_zoo.models.catalog import MODELS, number
from model_zoo.serving.model_strategy import Threshold, Tradable, strategy_of
from model_zoo.serving.trial_load import try_load

FORMAT: Final = "blofin-model/2"
"""Marks our artifacts; the number changes with the layout."""
VERSION_DIGITS: Final = 12
"""Of the fingerprint, in a version."""


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
    fingerprint : str
        The whole of that SHA-256.
    """

    path: Path
    version: str
    model: Model
    threshold: Threshold
    metadata: dict[str, Any]
    fingerprint: str

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
        return _fingerprint(folder, model.file)[:VERSION_DIGITS]


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
        fingerprint = _fingerprint(draft, model.file)
        version = fingerprint[:VERSION_DIGITS]
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
    _OWN.add(fingerprint)
    return Artifact(target, version, model, threshold, full, fingerprint)


def load_artifact(folder: Path, recorded: str | None = None) -> Artifact:
    """Return the model of a folder that `save_artifact` wrote.

    Parameters
    ----------
    folder : Path
        `model_NNN` or one of its versions.
    recorded : str, optional
        The fingerprint that the warehouse's own table holds of it, or its first digits, at least those of a version.
        Without one the folder is a stranger's, whatever it says of itself: it is loaded and asked in a child process
        with limits first, unless this process wrote it.

    Raises
    ------
    ModelError
        If a file is missing, was changed since, is not one of ours, belongs to another model, was made with other
        definitions of its features than today's, or holds anything but a sound model. The message names the folder,
        the file and the reason. Whatever is in the folder, nothing of it is executed, and no other error is raised.
    """
    with tempfile.TemporaryDirectory(prefix="model-") as name:
        private = Path(name)  # the checked copy is loaded, whatever happens to the folder meanwhile
        try:
            _copy(folder, private)
            checked = _checked(private)
            if recorded is not None and (
                len(recorded) < VERSION_DIGITS or not checked.fingerprint.startswith(recorded)
            ):
                _refuse(private, f"its fingerprint is {checked.fingerprint}, the warehouse recorded {recorded}")
            if recorded is None and checked.fingerprint not in _OWN:
                problem = try_load(private)
                if problem:
                    _refuse(private, problem)
                _OWN.add(checked.fingerprint)
            model = checked.made(private)
        except Exception as error:  # a damaged folder fails in as many ways as there are bytes
            reason = str(error) if isinstance(error, ModelError) else f"not a sound model: {_line(error)}"
            message = reason.replace(f"{private}/", "").replace(f"{private}: ", "")
            msg = f"{folder}: {message}; train it again, or bring back the folder as it was written"
            raise ModelError(msg) from error
    return Artifact(
        folder.resolve(), checked.version, model, checked.config.threshold, checked.metadata, checked.fingerprint
    )


_OWN: Final[set[str]] = set()
"""Fingerprints that this process wrote or tried."""


def try_artifact(folder: Path) -> None:
    """Load a private copy of an untrusted model and let it predict, in the child of `trial_load`.

    Raises
    ------
    ModelError
        If its answers are no probabilities; other errors as they come.
    """
    checked = _checked(folder)
    model = checked.made(folder)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(_ASKED, len(model.spec.inputs))) * np.logspace(-8, 8, _ASKED)[:, None]
    inputs[::7] = np.nan
    frame = pl.DataFrame(inputs, schema=list(model.spec.inputs)).with_columns(pl.lit(None, pl.String).alias("flag"))
    prediction = model.predict(frame.with_columns(pl.col(model.spec.inputs).fill_nan(None))).drop_nulls()
    if not prediction.is_between(0, 1).all():
        _refuse(folder, f"{model.file} returns values that are not probabilities")


_ASKED: Final = 64


def _copy(folder: Path, private: Path) -> None:
    """Copy the files of a folder: regular ones of bounded size, each read once."""
    for name, most in _FILES.items():
        try:
            (private / name).write_bytes(read_file(folder / name, most))
        except FileNotFoundError:
            continue  # which are missing is said where they are looked for
        except OSError as error:
            _refuse(private, f"{name} cannot be read: {error.strerror or error}")


def read_file(path: Path, most: int) -> bytes:
    """Return the content of a regular file of at most so many bytes; no link is followed, no pipe waited for.

    Raises
    ------
    OSError
        If it is none, is larger or cannot be read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return content


def version_folder(root: Path, name: str, version: str) -> Path:
    """Return where a version of a model is stored.

    Parameters
    ----------
    root : Path
        Folder of all models.
    name, version : str
        Of the model.

    Returns
    -------
    Path
        Inside `root`.

    Raises
    ------
    ModelError
        If the name or the version is not of the form of ours, so that no path leads out of `root`.
    """
    if not re.fullmatch(r"model_\d{3}", name) or not re.fullmatch(rf"[0-9a-f]{{{VERSION_DIGITS}}}", version):
        msg = f"{name[:60]}/{version[:60]} is not a version of a model like model_002/{'0' * VERSION_DIGITS}"
        raise ModelError(msg)
    return root / ".versions" / name / version


_FILES: Final = {
    "metadata.json": 10_000_000,
    "config.json": 1_000_000,
    "README.md": 10_000_000,
    **{each.file: 100_000_000 for each in MODELS.values()},
}
"""Files of a model's folder, with their most bytes."""


class _Config(BaseModel):
    """What `config.json` holds: nothing else, and each of its own kind."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    format: Literal["blofin-model/2"]
    spec: ModelSpec
    calibration: Calibration
    state: dict[str, float]
    threshold: Threshold
    features_hash: str


@dataclass(frozen=True)
class _Checked:
    """A folder whose files are whole and fit together; its model is not made yet."""

    metadata: dict[str, Any]
    config: _Config
    fingerprint: str

    @property
    def version(self) -> str:
        return self.fingerprint[:VERSION_DIGITS]

    def made(self, folder: Path) -> Model:
        """Return the model."""
        config = self.config
        return MODELS[config.spec.type].load(folder, config.spec, config.calibration, config.state)


def _checked(folder: Path) -> _Checked:
    metadata = _read_json(folder / "metadata.json")
    if metadata.get("format") != FORMAT:
        _refuse(
            folder,
            f"metadata.json has format {metadata.get('format')!r}, not {FORMAT!r}; it was written by other software",
        )
    hashes = metadata.get("sha256")
    if not isinstance(hashes, dict):
        _refuse(folder, "metadata.json does not name the files and their hashes")
    _check_hashes(folder, hashes)
    try:
        config = _Config.model_validate_json((folder / "config.json").read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        _refuse(folder, f"config.json: {'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}")
    spec = config.spec
    if spec.type not in MODELS:
        _refuse(folder, f"config.json names the model type {spec.type!r}; there is {', '.join(MODELS)}")
    if metadata.get("model") != folder_name(spec):
        _refuse(folder, f"metadata.json is of {metadata.get('model')}, config.json of {folder_name(spec)}")
    unnamed = sorted({"config.json", MODELS[spec.type].file} - set(hashes))
    if unnamed:
        _refuse(folder, f"metadata.json does not name {', '.join(unnamed)}")
    if config.features_hash != definitions_hash(spec.rests_on):
        _refuse(folder, "its features are defined differently today")
    checked = _Checked(metadata, config, _fingerprint(folder, MODELS[spec.type].file))
    if checked.version != metadata.get("version"):
        _refuse(folder, f"metadata.json says version {metadata.get('version')}, the files are {checked.version}")
    return checked


def _check_hashes(folder: Path, hashes: Mapping[str, Any]) -> None:
    for file, digest in hashes.items():
        if file not in _FILES or not (folder / file).is_file():
            _refuse(folder, f"{file} is missing")
        if _sha256(folder / file) != digest:
            _refuse(folder, f"{file} has changed since it was written")


def _line(error: Exception) -> str:
    """Return an error as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _refuse(folder: Path, reason: str) -> NoReturn:
    msg = f"{folder}: {reason}"
    raise ModelError(msg)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"{path.parent}: {path.name} is missing; not a model folder, or a damaged one"
        raise ModelError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path}: not readable as JSON: {error}"
        raise ModelError(msg) from error
    if not isinstance(value, dict):
        msg = f"{path}: is not a JSON object"
        raise ModelError(msg)
    return value


def _dump(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(
        json.dumps(content, indent=2, sort_keys=True, allow_nan=False, default=str) + "\n", encoding="utf-8"
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _fingerprint(folder: Path, file: str) -> str:
    """Return the SHA-256 of the model file and `config.json`."""
    return hashlib.sha256((_sha256(folder / file) + _sha256(folder / "config.json")).encode()).hexdigest()


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
    draft = link.with_name(f".{link.name}.{os.getpid()}.link")
    draft.unlink(missing_ok=True)
    draft.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
    draft.replace(link)


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
        "Inputs: " + ", ".join(f"`{input_name}`" for input_name in spec.inputs),
        *_written(spec),
    ]
    return "\n".join(lines) + "\n"


def _written(spec: ModelSpec) -> list[str]:
    """Return the texts among the inputs, as an indented block: whatever they hold, it stays text."""
    lines = [f"    {name} = {' '.join(written.text.split())}" for name, written in spec.written.items()]
    return ["", "Written as text, compiled and never executed:", "", *lines] if lines else []
