"""A new model is one class and one line: everything else follows, from inputs to files."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from features.array_types import FloatArray
from model_zoo.models import catalog
from model_zoo.models.base import Model, Range
from model_zoo.serving import artifacts
from model_zoo.serving.artifacts import load_artifact, save_artifact
from model_zoo.training import trainer
from model_zoo.training.trainer import default_spec, train_cycle
from tests.model_zoo.conftest import SYMBOLS, MakeManager, T


class Contrarian(Model):
    """Straight line: the opposite of the first input."""

    type = "contrarian"
    file = "model.txt"
    library = "numpy"
    defaults: ClassVar = {"strength": 1.0}
    ranges: ClassVar = {"strength": Range(0.1, 2.0)}

    def fit(self, rows: pl.DataFrame) -> None:
        moves = np.nan_to_num(self.matrix(rows)[:, 0])
        up = rows["label_event"].to_numpy().astype(np.float64) - 0.5
        self.slope = self.hyper["strength"] * float(moves @ up) / float(moves @ moves)

    def raw(self, matrix: FloatArray) -> FloatArray:
        said: FloatArray = 4 * self.slope * np.nan_to_num(matrix[:, 0])
        return said

    def write(self, path: Path) -> None:
        path.write_text(repr(self.slope))

    def read(self, path: Path) -> None:
        self.slope = float(path.read_text())


def test_one_class_and_one_line(manager_of: MakeManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {**catalog.MODELS, "contrarian": Contrarian}
    for module in (catalog, trainer, artifacts):
        monkeypatch.setattr(module, "MODELS", known)  # what the one line does
    found = train_cycle(manager_of(0.9), SYMBOLS, T, default_spec("contrarian", "5m"))
    assert found.sound
    assert found.metrics.better
    assert found.evaluation.name == "contrarian_5m"
    assert found.importance["suggestion"].len() == len(found.model.spec.inputs)
    saved = save_artifact(tmp_path, found.model, found.threshold, found.metadata())
    assert (tmp_path / "model_017").exists()
    assert load_artifact(saved.path).model.spec == found.model.spec
    assert "Straight line" in (saved.path / "README.md").read_text()
