"""How the kernel is compiled and called."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from lane_cases import random_case

from backtester.simulation import kernel
from backtester.simulation import lanes as lanes_module
from backtester.simulation.lanes import run_arrays

ONLY_THERE = "UserProvidedCacheLocator"
RUN = """
import sys
sys.path.insert(0, {here!r})
from lane_cases import random_case
from backtester.simulation import kernel
from backtester.simulation.lanes import run_arrays
print(run_arrays([random_case(11).lane]).sums[0, kernel.S_EQUITY].hex())
"""


def in_a_new_process(**environment: str) -> str:
    here = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(here=str(here))],
        cwd=here.parents[1],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.slow
def test_a_new_process_reads_the_same_code_from_the_cache(tmp_path: Path) -> None:
    here = float(run_arrays([random_case(11).lane]).sums[0, kernel.S_EQUITY]).hex()
    assert in_a_new_process(NUMBA_CACHE_DIR=str(tmp_path)) == here
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")}
    assert kept
    assert in_a_new_process(NUMBA_CACHE_DIR=str(tmp_path)) == here
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")} == kept


@pytest.mark.slow
def test_it_works_where_no_cache_can_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "a file, not a folder"
    blocked.write_text("")
    here = float(run_arrays([random_case(11).lane]).sums[0, kernel.S_EQUITY]).hex()
    assert in_a_new_process(NUMBA_CACHE_DIR=str(blocked / "cache"), NUMBA_CACHE_LOCATOR_CLASSES=ONLY_THERE) == here


def test_threads_may_call_it_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "_WORTH_A_THREAD", 1)
    lanes = [random_case(seed).lane for seed in range(60)]
    expected = run_arrays(lanes, threads=1).sums
    results: list[np.ndarray] = []
    callers = [threading.Thread(target=lambda: results.append(run_arrays(lanes).sums)) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 6
    assert all(np.array_equal(each, expected) for each in results)


def test_nothing_to_run_is_nothing() -> None:
    assert run_arrays([]).sums.shape == (0, kernel.SUM_COLUMNS)


def test_an_interrupted_call_leaves_nobody_working(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "_WORTH_A_THREAD", 1)
    lanes = [random_case(seed).lane for seed in range(60)]
    caller = threading.get_ident()
    working: list[int] = []
    compiled = kernel.compiled()

    def run(*arguments: object) -> None:
        if threading.get_ident() == caller:
            raise KeyboardInterrupt
        working.append(1)
        compiled(*arguments)
        working.pop()

    monkeypatch.setattr(kernel, "compiled", lambda: run)
    for _ in range(20):
        with pytest.raises(KeyboardInterrupt):
            run_arrays(lanes, threads=4)
        assert working == []
