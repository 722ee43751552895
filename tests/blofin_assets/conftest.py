"""Fixtures of the tests that drive the whole platform."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from support.platform import Make, Platform, keep_surroundings_out, platforms


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's settings and `.env` out of tests."""
    keep_surroundings_out(monkeypatch, tmp_path)


@pytest.fixture
def make_platform(tmp_path: Path) -> Iterator[Make]:
    """Platforms of one test."""
    with platforms(tmp_path) as make:
        yield make


@pytest.fixture
def platform(make_platform: Make) -> Platform:
    return make_platform()


@pytest.fixture(scope="session")
def first_pass(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a warehouse after one whole pass, made once for all test processes; never to be opened itself."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "first_pass"
    with FileLock(f"{folder}.lock"):
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            with platforms(folder) as make:
                make().run()
            (folder / "whole").touch()
    return folder


@pytest.fixture
def passed(first_pass: Path, tmp_path: Path, make_platform: Make) -> Platform:
    """A platform after one whole pass, for one test alone."""
    shutil.copytree(first_pass / "warehouse", tmp_path / "warehouse", symlinks=True)
    return make_platform()


@pytest.fixture(scope="module")
def done(first_pass: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform after one whole pass, for tests that add nothing to it or only what is there already."""
    root = tmp_path_factory.mktemp("done")
    shutil.copytree(first_pass / "warehouse", root / "warehouse", symlinks=True)
    with platforms(root) as make:
        yield make()
