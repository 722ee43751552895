"""An artifact is read back as it was written, or refused with the reason; it is there whole or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from model_zoo.models.base import ModelError, ModelSpec
from model_zoo.models.calibration import Calibration
from model_zoo.models.catalog import MODELS, number
from model_zoo.models.direction import DirectionModel
from model_zoo.serving import artifacts
from model_zoo.serving.artifacts import Artifact, folder_name, load_artifact, save_artifact
from model_zoo.serving.model_strategy import Threshold

THRESHOLD = Threshold(0.05, 0.001, 40)


def rows(seed: int = 0, count: int = 1_500) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count)
    minutes = pl.Series(range(count)).cast(pl.Int64) * 5
    ts = pl.select(pl.datetime(2025, 6, 1, time_zone="UTC") + pl.duration(minutes=minutes)).to_series()
    return pl.DataFrame(
        {
            "ts": ts,
            "returns": x,
            "rsi_14": rng.normal(size=count),
            "flag": pl.Series([None] * count, dtype=pl.String),
            "label_event": x + rng.normal(size=count) > 0,
            "label_known_at": ts.dt.offset_by("65m"),
        }
    )


def trained(seed: int = 0) -> DirectionModel:
    model = DirectionModel(ModelSpec("direction", "5m", 12, ("returns", "rsi_14"), seed))
    model.train(rows())
    model.calibration = Calibration(0.8, 0.01)
    return model


@pytest.fixture(scope="module")
def model() -> DirectionModel:
    return trained()


@pytest.fixture
def saved(model: DirectionModel, tmp_path: Path) -> Artifact:
    return save_artifact(tmp_path, model, THRESHOLD, {"status": "candidate"})


def test_numbers_are_one_for_each_identity_and_stay() -> None:
    numbers = [number(type_name, timeframe) for type_name in MODELS for timeframe in ("1m", "5m", "60m")]
    assert numbers == list(range(1, 16))
    assert folder_name(ModelSpec("direction", "1m", 60, ("rsi_14",))) == "model_001"
    with pytest.raises(ModelError, match="types are direction"):
        number("oracle", "5m")


def test_what_is_written_is_read(saved: Artifact, model: DirectionModel, tmp_path: Path) -> None:
    folder = tmp_path / "model_002"
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "metadata.json", "model.txt"]
    loaded = load_artifact(folder)
    assert loaded.version == saved.version
    assert loaded.model.predict(rows()).equals(model.predict(rows()))
    assert loaded.threshold == THRESHOLD
    assert loaded.metadata["status"] == "candidate"
    assert json.loads((folder / "config.json").read_text())["spec"]["inputs"] == ["returns", "rsi_14"]
    assert "direction_5m" in (folder / "README.md").read_text()


def test_the_same_rows_and_seed_give_the_same_file() -> None:
    assert artifacts.version_of(trained(), THRESHOLD) == artifacts.version_of(trained(), THRESHOLD)
    assert artifacts.version_of(trained(1), THRESHOLD) != artifacts.version_of(trained(), THRESHOLD)


def test_no_pickle(saved: Artifact) -> None:
    assert (saved.path / "model.txt").read_bytes().startswith(b"tree\n")


def test_a_new_version_takes_the_place_and_the_old_one_stays(saved: Artifact, tmp_path: Path) -> None:
    newer = save_artifact(tmp_path, trained(1), THRESHOLD, {})
    assert newer.version != saved.version
    assert load_artifact(tmp_path / "model_002").version == newer.version
    assert load_artifact(saved.path).version == saved.version


def test_an_older_cycle_computed_again_does_not_take_the_place(saved: Artifact, tmp_path: Path) -> None:
    older = save_artifact(tmp_path, trained(1), THRESHOLD, {}, current=False)
    assert load_artifact(tmp_path / "model_002").version == saved.version
    assert load_artifact(older.path).version == older.version


def test_saving_again_is_harmless(saved: Artifact, model: DirectionModel, tmp_path: Path) -> None:
    again = save_artifact(tmp_path, model, THRESHOLD, {"status": "active"})
    assert again.path == saved.path
    assert load_artifact(tmp_path / "model_002").metadata["status"] == "active"
    assert not list((tmp_path / ".versions" / "model_002").glob(".draft*"))


def test_a_failure_half_way_leaves_the_old_one(
    saved: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: object) -> None:
        path.write_text("{")
        raise OSError(28, "No space left on device", str(content)[:1])

    monkeypatch.setattr(artifacts, "_dump", full)
    with pytest.raises(OSError, match="No space"):
        save_artifact(tmp_path, trained(1), THRESHOLD, {})
    monkeypatch.undo()
    assert load_artifact(tmp_path / "model_002").version == saved.version
    assert [path.name for path in (tmp_path / ".versions" / "model_002").iterdir()] == [saved.version]


def edit(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "model file changed": (lambda p: (p / "model.txt").write_text("tree\n"), "model.txt has changed"),
    "model file cut": (
        lambda p: (p / "model.txt").write_bytes((p / "model.txt").read_bytes()[:-200]),
        "model.txt has changed",
    ),
    "model file gone": (lambda p: (p / "model.txt").unlink(), "model.txt is missing"),
    "config changed": (
        lambda p: edit(p / "config.json", lambda c: c.update(threshold={})),
        "config.json has changed",
    ),
    "metadata gone": (lambda p: (p / "metadata.json").unlink(), "metadata.json is missing"),
    "metadata not JSON": (lambda p: (p / "metadata.json").write_text("{"), "not readable as JSON"),
    "metadata a list": (lambda p: (p / "metadata.json").write_text("[]"), "not a JSON object"),
    "another format": (
        lambda p: edit(p / "metadata.json", lambda c: c.update(format="x")),
        "written by other software",
    ),
    "another version": (lambda p: edit(p / "metadata.json", lambda c: c.update(version="0" * 12)), "says version"),
    "another number": (lambda p: edit(p / "metadata.json", lambda c: c.update(model="model_009")), "is of model_009"),
    "a path among the hashes": (
        lambda p: edit(p / "metadata.json", lambda c: c.update(sha256={"../model.txt": "0"})),
        "is missing",
    ),
}


@pytest.mark.parametrize("name", sorted(DAMAGE))
def test_damaged_and_foreign_artifacts_are_refused(saved: Artifact, name: str) -> None:
    damage, reason = DAMAGE[name]
    damage(saved.path)
    with pytest.raises(ModelError, match=reason):
        load_artifact(saved.path)


def test_a_model_of_other_features_is_refused(saved: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "definitions_hash", lambda _: "other")
    with pytest.raises(ModelError, match="defined differently"):
        load_artifact(saved.path)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, saved: Artifact) -> None:
    with pytest.raises(ModelError, match=r"metadata.json is missing"):
        load_artifact(tmp_path)
    link = tmp_path / "model_002"
    link.unlink()
    shutil.copytree(saved.path, link)
    with pytest.raises(ModelError, match="folder of its own"):
        save_artifact(tmp_path, trained(1), THRESHOLD, {})


def test_bad_specifications_are_refused() -> None:
    with pytest.raises(ValueError, match="label_up is a label and cannot be an input"):
        ModelSpec("direction", "5m", 12, ("label_up",))
    with pytest.raises(ModelError, match="distinct inputs"):
        ModelSpec("direction", "5m", 12, ("rsi_14", "rsi_14"))
    with pytest.raises(ModelError, match="unknown hyper-parameter depth"):
        DirectionModel(ModelSpec("direction", "5m", 12, ("rsi_14",), hyper={"depth": 3}))
    with pytest.raises(ModelError, match="says risk"):
        DirectionModel(ModelSpec("risk", "5m", 12, ("rsi_14",)))
    with pytest.raises(ModelError, match="not trained"):
        DirectionModel(ModelSpec("direction", "5m", 12, ("returns",))).predict(rows())
    with pytest.raises(ModelError, match="one class only"):
        trained().train(rows().with_columns(label_event=pl.lit(True)))
    with pytest.raises(ModelError, match="no column rsi_14"):
        trained().predict(rows().drop("rsi_14"))


def test_nulls_and_infinities_are_unknown(model: DirectionModel) -> None:
    frame = (
        rows()
        .head(4)
        .with_columns(
            returns=pl.Series([None, float("inf"), float("nan"), 1.0]), rsi_14=pl.Series([None, 1.0, 1.0, 1.0])
        )
    )
    out = model.predict(frame)
    assert out[0] is None
    assert out[1] == out[2]
    assert out[3] is not None
    flagged = model.predict(frame.with_columns(flag=pl.lit("repaired")))
    assert flagged.null_count() == 4
