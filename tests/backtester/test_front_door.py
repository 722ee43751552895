"""The names that a user imports from the package itself."""

import subprocess
import sys

import pytest

import backtester
from backtester.evaluation.evaluate import evaluate
from backtester.simulation.costs import Costs


def test_each_public_name_is_the_one_of_its_module() -> None:
    assert backtester.Costs is Costs
    assert backtester.evaluate is evaluate
    assert all(getattr(backtester, name) is not None for name in backtester.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Cost'"):
        backtester.Cost  # noqa: B018


def test_the_package_itself_loads_no_library() -> None:
    code = "import sys, backtester; print([name for name in ('polars', 'numpy', 'numba') if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
