"""Fixtures of the tests that drive the whole platform."""

import hashlib
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from filelock import FileLock
from support.platform import Make, Platform, keep_surroundings_out, platforms

from blofin_assets.shared.code_version import code_version


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
def first_pass(pytestconfig: pytest.Config) -> Path:
    """Folder with a warehouse after one whole pass; never to be opened itself.

    Made once a day for the same code, for all test processes and for the slow tests after the fast ones.
    """
    made = pytestconfig.cache.mkdir("first_pass")
    tests = hashlib.sha256(Path(__file__).with_name("platform.py").read_bytes()).hexdigest()[:16]
    folder = made / f"{datetime.now(UTC):%Y-%m-%d}_{code_version()}_{tests}"
    with FileLock(made / "lock"):
        if not (folder / "whole").exists():
            for older in (each for each in made.iterdir() if each.is_dir()):
                shutil.rmtree(older)
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
