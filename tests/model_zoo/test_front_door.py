"""The names that a user imports from the package itself."""

import subprocess
import sys

import pytest

import model_zoo
from model_zoo.models.base import Model
from model_zoo.training.trainer import train_cycle


def test_each_public_name_is_the_one_of_its_module() -> None:
    assert model_zoo.Model is Model
    assert model_zoo.train_cycle is train_cycle
    assert all(getattr(model_zoo, name) is not None for name in model_zoo.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Modell'"):
        model_zoo.Modell  # noqa: B018


def test_the_package_itself_loads_no_library() -> None:
    libraries = ("polars", "numpy", "numba", "sklearn", "torch", "lightgbm")
    code = f"import sys, model_zoo; print([name for name in {libraries} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
