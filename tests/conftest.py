"""Fixtures that every test package shares."""

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_market() -> Path:
    """Folder of real 1-minute candles in the archive format; the test skips where there is none."""
    folder = Path(os.environ.get("BLOFIN_TEST_MARKET", PROJECT.parent / "shared" / "data" / "market"))
    if not folder.is_dir():
        pytest.skip(f"no real candles in {folder}; set BLOFIN_TEST_MARKET to an archive folder")
    return folder
