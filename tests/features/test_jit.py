"""Kept machine code that is damaged is recompiled, with one line in the log, wherever compiled code is loaded."""

import ast
import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("features", "backtester", "strategies", "model_zoo", "blofin_resources", "blofin_assets")
SOURCE = """
from features.jit import kept


@kept(nogil=True)
def doubled(x):
    return x + x
"""
CALLED = "import mine; print(mine.doubled(21))"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    assert loaded(path).doubled(21) == 42
    assert len(files(path)) == 2
    return path


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files(path: Path) -> dict[str, Path]:
    return {found.suffix: found for found in (path.parent / "__pycache__").glob("*.nb*")}


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("left", ["nothing", "half", "text"])
def test_damaged_code_is_compiled_anew_with_one_line(
    source: Path, suffix: str, left: str, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = files(source)[suffix]
    whole = damaged.read_bytes()
    cut = {"nothing": b"", "half": whole[: len(whole) // 2], "text": b"no space left on device"}[left]
    damaged.write_bytes(cut)
    with caplog.at_level(logging.WARNING):
        assert loaded(source).doubled(21) == 42
        (line,) = caplog.messages
        assert line.startswith(f"compiled code of mine.doubled in {damaged.parent} cannot be read and is recompiled")
        assert "\n" not in line
        caplog.clear()
        again = loaded(source)
        assert again.doubled(21) == 42
        assert caplog.messages == []
    assert again.doubled.stats.cache_hits == {again.doubled.signatures[0]: 1}


def test_code_that_cannot_be_written_is_used_all_the_same(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = files(source)[".nbi"]
    index.unlink()
    index.mkdir()  # nothing can be written in its place
    with caplog.at_level(logging.WARNING):
        assert loaded(source).doubled(21) == 42
    read, kept = caplog.messages
    assert "cannot be read" in read
    assert "cannot be cached; each process compiles it" in kept


@pytest.mark.slow
def test_processes_that_find_the_same_damage_at_once_all_go_on(source: Path) -> None:
    for path in files(source).values():
        path.write_bytes(b"")
    environment = os.environ | {"PYTHONPATH": f"{source.parent}:{ROOT}"}

    def called() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", CALLED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    for process in [called() for _ in range(3)]:
        out, err = process.communicate(timeout=120)
        assert (out, process.returncode) == ("42\n", 0), err
        assert len(err.splitlines()) <= 1
    out, err = called().communicate(timeout=120)
    assert (out, err) == ("42\n", ""), "what the last of them wrote is whole"


def test_all_kept_code_goes_this_way() -> None:
    """Numba's own `cache=True` stops at damaged files: nothing uses it."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.keyword) and node.arg == "cache" and isinstance(node.value, ast.Constant):
                    assert not node.value.value, f"{path}:{node.value.lineno}: use features.jit.kept"
