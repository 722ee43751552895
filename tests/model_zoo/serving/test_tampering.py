"""Whatever is in a model's folder: a model that gives probabilities, or the documented error; never anything else."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from model_zoo.ensembles import Ensemble, Member, Rule
from model_zoo.models.base import ModelError, ModelSpec
from model_zoo.models.catalog import MODELS
from model_zoo.serving import artifacts
from model_zoo.serving import trial_load as trial
from model_zoo.serving.artifacts import load_artifact, save_artifact, version_folder
from model_zoo.serving.ensemble_artifacts import FOLDER, _digest, full_definition, load_ensemble
from model_zoo.serving.model_strategy import Threshold
from tests.model_zoo.tampering import signed

pytestmark = pytest.mark.slow

HYPER = {
    "direction": {"min_data_in_leaf": 20.0},
    "risk": {"trees": 3.0, "depth": 3.0, "most_rows": 300.0},
    "price": {"hidden": 4.0, "epochs": 2.0, "least_epochs": 1.0},
    "momentum": {"components": 5.0, "most_rows": 300.0},
}
"""Volatility is direction's kind of file."""


def rows(count: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=count)
    value = x + rng.normal(size=count)
    minutes = pl.Series(range(count)).cast(pl.Int64) * 5
    ts = pl.select(pl.datetime(2025, 6, 1, time_zone="UTC") + pl.duration(minutes=minutes)).to_series()
    return pl.DataFrame(
        {
            "ts": ts, "returns": x, "rsi_14": rng.normal(size=count), "label_event": value > 0,
            "flag": pl.Series([None] * count, dtype=pl.String), "label_value": value,
            "label_known_at": ts.dt.offset_by("65m"),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    for name, hyper in HYPER.items():
        scale = "realized_volatility_288" if MODELS[name].scale else ""
        model = MODELS[name](ModelSpec(name, "5m", 12, ("returns", "rsi_14"), hyper=hyper, scale=scale))
        model.train(rows())
        save_artifact(folder, model, Threshold(0.05, 0.001, 40), {"base_rate": 0.5})
    return folder


def walked(root: Path, work: Path, *, count: int, step: int) -> dict[str, list[str]]:
    """Walk the changes in a process of their own: one that ends it is told by the last line."""
    there = work / "models"
    there.mkdir()
    for link in sorted(root.glob("model_*")):
        (there / link.name).symlink_to(link.resolve())
    arguments = [str(there), str(work / "changed"), "7", str(count), str(step)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.model_zoo.tampering", *arguments],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=1_500, check=False,
    )  # fmt: skip
    lines = done.stdout.split("\n")
    assert done.returncode == 0, f"{lines[-1]!r} ended the process with {done.returncode}:\n{done.stderr[-2_000:]}"
    found: dict[str, list[str]] = {"refused": [], "harmless": []}
    for line in lines[:-1]:
        what, _, came = line.rpartition(": ")
        found[came].append(what)
    return found


def test_some_of_every_kind_of_change_is_refused_or_harmless(root: Path, tmp_path: Path) -> None:
    found = walked(root, tmp_path, count=10, step=101)
    assert len(found["refused"]) > 20


@pytest.mark.long
def test_every_change_is_refused_or_harmless(root: Path, tmp_path: Path) -> None:
    found = walked(root, tmp_path, count=400, step=1)
    assert len(found["refused"]) > 2_500
    words = ("children", "node_count", "os", "Popen", "predict", "a pipe", "a link", "large when unpacked", "deep")
    assert not [each for each in found["harmless"] if any(f" {word}" in each for word in words)]


@pytest.mark.parametrize("name", ["price", *(pytest.param(each, marks=pytest.mark.slow) for each in [*HYPER][:2])])
def test_a_strangers_model_is_tried_in_a_child_first(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = next(root.glob(f"model_{artifacts.number(name, '5m'):03d}")).resolve()
    own = artifacts.load_artifact(folder)
    monkeypatch.setattr(artifacts, "_OWN", set())
    calls: list[Path] = []

    def counted(private: Path) -> str:
        calls.append(private)
        return trial.try_load(private)

    monkeypatch.setattr(artifacts, "try_load", counted)
    assert load_artifact(folder, own.fingerprint).version == own.version
    assert load_artifact(folder, own.version).version == own.version
    assert not calls
    for _ in range(2):
        assert load_artifact(folder).model.predict(rows()).equals(own.model.predict(rows()))
    assert len(calls) == 1
    with pytest.raises(ModelError, match="the warehouse recorded 000000000000"):
        load_artifact(folder, "0" * 12)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("raise SystemExit(9)", "code 9"),
        ("print('no good'); raise SystemExit(3)", "no good"),
        ("while True: pass", "did not end within 2 s"),
        ("print('x' * 1_000_000)", "did not end within 2 s"),
    ],
)
def test_what_ends_or_holds_the_child_is_a_reason(
    root: Path, code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").write_text(f'#!/bin/sh\nshift 3\nexec {sys.executable} -c "$(cat {tmp_path}/code)" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "code").write_text(code)
    if "did not end" in said:
        monkeypatch.setattr(trial, "SECONDS", 1)
    monkeypatch.setattr(trial.sys, "executable", str(tmp_path / "python"))
    folder = next(root.glob("model_002"))
    monkeypatch.setattr(artifacts, "_OWN", set())
    with pytest.raises(ModelError, match=f"^{folder}: .*{said}"):
        load_artifact(folder)


def ensemble(root: Path) -> dict[str, Any]:
    found = [load_artifact(root / f"model_{number:03d}") for number in (2, 8)]
    members = tuple(Member(each.model, each.threshold, each.version, 0.5, pl.DataFrame()) for each in found)
    made = Ensemble(members, Rule("weighted_avg", (0.4, 0.6), found[0].model.calibration), Threshold(0.01, 0.0, 30))
    return {**full_definition(made), "format": "blofin-ensemble/1", "as_of": "2025-06-12"}


def saved(root: Path, content: dict[str, Any]) -> Path:
    (root / FOLDER).mkdir(exist_ok=True)
    path = root / FOLDER / "ensemble_001.json"
    path.unlink(missing_ok=True)  # another test may have left a link in its place
    path.write_text(json.dumps(content | {"sha256": _digest(content)}))
    return path


OUT = "../../../etc"
CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a path out of the folder": lambda c: c.update(models=[OUT, OUT]),
    "an absolute path": lambda c: c.update(models=["/etc", "/etc"]),
    "a version that is a path": lambda c: c.update(versions=["../" * 6, c["versions"][1]]),
    "an absolute version": lambda c: c.update(versions=["/etc/passwd", c["versions"][1]]),
    "a model that is not there": lambda c: c.update(models=["model_001", c["models"][1]]),
    "another version": lambda c: c.update(version="0" * 12),
    "another name": lambda c: c.update(name="voting_direction_price"),
    "no name": lambda c: c.pop("name"),
    "other members": lambda c: c.update(members=["direction_1m", "price_1m"]),
    "one member": lambda c: [c.update({k: c[k][:1]}) for k in ("models", "versions", "base_rates", "weights")],
    "many members": lambda c: [c.update({k: c[k] * 200}) for k in ("models", "versions", "base_rates", "weights")],
    "weights of another length": lambda c: c.update(weights=[1.0]),
    "weights that are none": lambda c: c.update(weights=["a", "b"]),
    "infinite weights": lambda c: c.update(weights=[float("inf"), 0.0]),
    "a base rate of 2": lambda c: c.update(base_rates=[2.0, 0.5]),
    "no versions": lambda c: c.pop("versions"),
    "versions a text": lambda c: c.update(versions="ab"),
    "models a number": lambda c: c.update(models=7),
    "a threshold of texts": lambda c: c.update(threshold={"distance": "a", "net": 0.0, "signals": 1}),
    "a calibration of more": lambda c: c.update(calibration={"strange": 1}),
    "another method": lambda c: c.update(method="pickle"),
    "a method that is none": lambda c: c.update(method=[]),
}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_an_ensemble_signed_anew_is_refused(root: Path, name: str) -> None:
    content = ensemble(root)
    assert load_ensemble(saved(root, content)).name == content["name"]
    CHANGES[name](content)
    path = saved(root, content)
    with pytest.raises(ModelError, match=f"^{path}: "):
        load_ensemble(path)


def test_an_ensemble_that_is_no_file_of_text_is_refused(root: Path, tmp_path: Path) -> None:
    path = saved(root, ensemble(root))
    for content in (b"[" * 300_000, b"\xff", b" " * 2_000_000, b"null"):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=f"^{path}: "):
            load_ensemble(path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="not readable"):
        load_ensemble(path)


def test_only_versions_have_a_folder() -> None:
    assert version_folder(Path("m"), "model_002", "0123456789ab") == Path("m/.versions/model_002/0123456789ab")
    for name, version in (("..", "0123456789ab"), ("model_002", ".."), ("model_002\n", "0123456789ab"), ("", "")):
        with pytest.raises(ModelError, match="not a version of a model"):
            version_folder(Path("m"), name, version)


def test_a_folder_signed_anew_has_another_fingerprint(root: Path, tmp_path: Path) -> None:
    kept = load_artifact(root / "model_002")
    copied = tmp_path / "model_002"
    copied.mkdir()
    for path in kept.path.iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "threshold": {**config["threshold"], "distance": 0.0}}))
    assert signed(copied) != kept.fingerprint
    with pytest.raises(ModelError, match=f"the warehouse recorded {kept.fingerprint}"):
        load_artifact(copied, kept.fingerprint)
