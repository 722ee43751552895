"""The whole model of the guide: one class and one line, and everything else follows, from inputs to files."""

import re
from pathlib import Path
from typing import Any

import pytest

from blofin_assets.shared.code_version import PROJECT
from model_zoo.models import catalog
from model_zoo.models.base import Model
from model_zoo.serving import artifacts
from model_zoo.serving.artifacts import load_artifact, save_artifact
from model_zoo.training import trainer
from model_zoo.training.trainer import default_spec, train_cycle
from tests.model_zoo.conftest import SYMBOLS, MakeManager, T

GUIDE = PROJECT / "docs" / "extending" / "model.md"


@pytest.fixture
def contrarian() -> type[Model]:
    """The class that stands in the guide."""
    [text] = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(text, str(GUIDE), "exec"), names)  # noqa: S102 - the page of this project
    found: type[Model] = names["Contrarian"]
    return found


def test_one_class_and_one_line(
    contrarian: type[Model], manager_of: MakeManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {**catalog.MODELS, "contrarian": contrarian}
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
