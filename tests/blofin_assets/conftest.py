"""Fixtures of the tests that drive the whole platform."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.platform import Make, Platform, platforms


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's settings and `.env` out of tests."""
    for name in list(os.environ):
        if name.startswith(("BLOFIN_", "ANTHROPIC_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make_platform(tmp_path: Path) -> Iterator[Make]:
    """Platforms of one test."""
    with platforms(tmp_path) as make:
        yield make


@pytest.fixture
def platform(make_platform: Make) -> Platform:
    return make_platform()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform after one whole pass, for tests that add nothing to it or only what is there already."""
    with platforms(tmp_path_factory.mktemp("done")) as make:
        platform = make()
        platform.run()
        yield platform
