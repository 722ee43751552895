"""Fixtures that every test package shares."""

import os
from pathlib import Path
from typing import Final

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_market() -> Path:
    """Folder of real 1-minute candles in the archive format; the test skips where there is none."""
    folder = Path(os.environ.get("BLOFIN_TEST_MARKET", PROJECT.parent / "shared" / "data" / "market"))
    if not folder.is_dir():
        pytest.skip(f"no real candles in {folder}; set BLOFIN_TEST_MARKET to an archive folder")
    return folder


HEAVY: Final = (
    "test_pass",
    "test_cli_backtest",
    "test_market_blofin",
    "test_cli",
    "test_market_sample",
    "test_upkeep",
    "test_feature_checks",
    "test_processes",
)
"""Modules that take longest, longest first: begun last, one of them would keep one process busy and the others idle."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the heavy modules, after whatever else has put the tests in order."""
    places = {name: place for place, name in enumerate(HEAVY)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
