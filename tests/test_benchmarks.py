"""The table of `make bench`: rows as text, the page, and what is refused."""

import importlib.util
import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
ROWS = [
    {"script": "features", "name": "24 columns", "figure": 12.3456, "unit": "ms", "peer": "TA-Lib", "ratio": 5.25,
     "limit": "≥ 1"},
    {"script": "market", "name": "a | b", "figure": 1234567.0, "unit": "bars a second", "peer": "", "ratio": None,
     "limit": ""},
]  # fmt: skip


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_machine_versions_and_a_row_for_each_figure() -> None:
    page = loaded("run").page(ROWS, datetime(2026, 3, 1, tzinfo=UTC))
    assert "2026-03-01 on " in page
    assert f"polars {version('polars')}" in page
    assert "vectorbt (not installed)" in page or "vectorbt " in page
    lines = page.splitlines()
    assert "| features | 24 columns | 12.35 ms | ≥ 1 | TA-Lib | 5.25 |" in lines
    assert "| market | a \\| b | 1,234,567 bars a second |  |  |  |" in lines


def test_a_figure_is_written_where_the_table_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = loaded("records").record
    record("nobody asked", 1.0, "s")
    monkeypatch.setenv("BENCH_ROWS", str(tmp_path / "rows"))
    record("asked", 2.0, "s", peer="other", ratio=3.0)
    [line] = (tmp_path / "rows").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "name": "asked", "figure": 2.0, "unit": "s", "peer": "other", "ratio": 3.0, "limit": ""
    }  # fmt: skip


def test_an_unknown_benchmark_is_refused_with_those_that_there_are() -> None:
    command = [sys.executable, str(BENCHMARKS / "run.py"), "speed"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("no benchmark speed; there are backtester, ")
