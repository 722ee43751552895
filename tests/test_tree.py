"""What a clone holds: text that people wrote, nothing that a run left behind."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
LEFT_BEHIND = ("__pycache__", ".nbc", ".nbi", ".pyc", ".pkl", ".sqlite", ".parquet", ".egg-info")
ORACLES = {"tests/backtester/vectorbt_answers.parquet", "tests/backtester/vectorbt_book_answers.parquet"}
"""Data that a committed script made and that tests are held against."""


def test_no_compiled_cache_pickle_or_data_is_tracked() -> None:
    if shutil.which("git") is None or not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)  # noqa: S607
    tracked = set(listed.stdout.splitlines()) - ORACLES
    assert sorted(path for path in tracked if any(mark in path for mark in LEFT_BEHIND)) == []


def test_the_application_stays_easy_to_survey() -> None:
    """At most fifteen folders, files of at most 400 lines, and nothing loose but what spans all stages."""
    application = PROJECT / "blofin_assets"
    files = [path for path in application.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len({path.parent for path in files} - {application}) <= 15
    assert {path.stem for path in application.glob("*.py")} == {
        "__init__", "bench", "definitions", "health", "maintenance", "reproduction"
    }  # fmt: skip
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in application.rglob("*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}
