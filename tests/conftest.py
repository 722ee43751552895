"""Fixtures that every test package shares."""

import os
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

PROJECT = Path(__file__).resolve().parents[1]

# no deadline: a slow machine is no failure; the same examples each time where nobody is there to keep a new one
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def real_market() -> Path:
    """Folder of real 1-minute candles in the archive format; the test skips where there is none."""
    folder = Path(os.environ.get("BLOFIN_TEST_MARKET", PROJECT.parent / "shared" / "data" / "market"))
    if not folder.is_dir():
        pytest.skip(f"no real candles in {folder}; set BLOFIN_TEST_MARKET to an archive folder")
    return folder


HEAVY: Final = (
    "end_to_end/test_pass.py",
    "end_to_end/test_evolution.py",
    "blofin/test_market.py",
    "warehouse/test_identity.py",
    "warehouse/test_open.py",
    "warehouse/test_writes.py",
    "warehouse/test_processes.py",
    "end_to_end/test_holdout_length.py",
    "serving/test_tampering.py",
    "end_to_end/test_operations.py",
    "end_to_end/test_kill.py",
    "scheduling/test_conductor.py",
    "market/test_blofin.py",
    "ml_cycle/test_llm_features.py",
    "simulation/test_agreement.py",
    "end_to_end/test_failing_alone.py",
    "end_to_end/test_delisted.py",
    "shared/test_margin_rules.py",
    "market/test_marks.py",
    "simulation/test_kernel.py",
    "map_elites/test_search.py",
    "validation/test_checks.py",
    "untrusted/test_sandbox.py",
    "market/test_sample_statistics.py",
    "reporting/test_review.py",
    "cli/test_cli.py",
    "market/test_import.py",
    "claude/test_ask.py",
    "end_to_end/test_documented_commands.py",
    "cli/test_backtest.py",
    "drift/test_checks.py",
    "reporting/test_report_page.py",
    "market/test_sample.py",
)
"""Modules that take longest, longest first: begun last, one of them would keep one process busy and the others idle.

The first one makes the pass that others share, and compiles the loops. So those that come next need neither.
"""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the heavy modules, after whatever else has put the tests in order."""
    places = {name: place for place, name in enumerate(HEAVY)}
    items.sort(key=lambda item: places.get("/".join(item.path.parts[-2:]), len(places)))
