"""What a stage has freed is there for the next one."""

import ctypes
import subprocess
import sys

import pytest

FREED = """
from pathlib import Path

from blofin_assets.shared.memory import give_back_memory


def held() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


pieces = [bytes(2_000) for _ in range(100_000)]
pins = pieces[::500]
before = held()
del pieces
kept = held()
give_back_memory()
print(before - kept, kept - held())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library cannot")
def test_memory_that_a_stage_has_freed_is_returned() -> None:
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    at_once, then = map(int, done.stdout.split())
    assert at_once < 50e6
    assert then > 150e6
