"""The names that a user imports from the package itself."""

import subprocess
import sys

import pytest

import strategies
from strategies.language.strategy import Strategy
from strategies.untrusted.compiler import compile_strategy


def test_each_public_name_is_the_one_of_its_module() -> None:
    assert strategies.Strategy is Strategy
    assert strategies.compile_strategy is compile_strategy
    assert all(getattr(strategies, name) is not None for name in strategies.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Strategie'"):
        strategies.Strategie  # noqa: B018


def test_the_package_itself_loads_no_library() -> None:
    code = "import sys, strategies; print([name for name in ('polars', 'numpy', 'numba') if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
