"""The allowance is one for all: slots are spaced over processes, and a shut-out holds for everybody."""

import json
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from blofin_resources.market.blofin import SharedLimiter
from blofin_resources.market.blofin import rate_limiter as limit
from blofin_resources.market.blofin.rate_limiter import default_state

RESERVE = """
import runpy, sys
from pathlib import Path
# By its path: the processes need nothing else of the package.
SharedLimiter = runpy.run_path(sys.argv[2])["SharedLimiter"]
limiter = SharedLimiter(Path(sys.argv[1]), 5.0, lambda: 1000.0)
print(*[repr(limiter.reserve()) for _ in range(25)])
"""


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_slots_are_spaced_and_idle_time_is_not_saved_up(tmp_path: Path) -> None:
    clock = Clock()
    limiter = SharedLimiter(tmp_path / "limit.json", 5.0, clock)
    assert [limiter.reserve() for _ in range(3)] == pytest.approx([1000.0, 1000.2, 1000.4])
    clock.seconds = 2000.0
    assert [limiter.reserve() for _ in range(3)] == pytest.approx([2000.0, 2000.2, 2000.4])


def test_processes_share_one_allowance(tmp_path: Path) -> None:
    state = tmp_path / "limit.json"
    command = [sys.executable, "-c", RESERVE, str(state), limit.__file__]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    slots = sorted(float(slot) for process in running for slot in process.communicate()[0].split())
    assert all(process.returncode == 0 for process in running)
    assert len(slots) == 75
    assert min(later - earlier for earlier, later in pairwise(slots)) == pytest.approx(0.2)


def test_a_shut_out_holds_for_all_and_is_never_shortened(tmp_path: Path) -> None:
    clock = Clock()
    one, other = (SharedLimiter(tmp_path / "limit.json", 5.0, clock) for _ in range(2))
    one.trip(300)
    one.trip(10)
    assert other.open_until() == 1300.0
    assert other.reserve() == 1300.0
    clock.seconds = 1301.0
    assert other.open_until() == 0.0


def test_the_limit_can_be_lifted_but_not_the_shut_out(tmp_path: Path) -> None:
    limiter = SharedLimiter(tmp_path / "limit.json", math.inf, Clock())
    assert {limiter.reserve() for _ in range(5)} == {1000.0}
    limiter.trip(60)
    assert limiter.reserve() == 1060.0


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"slot": "soon", "shut_until": 0}', '{"slot": 1e18, "shut_until": 0}']
)
def test_a_state_that_makes_no_sense_counts_as_absent(tmp_path: Path, content: str) -> None:
    state = tmp_path / "limit.json"
    state.write_text(content)
    assert SharedLimiter(state, 5.0, Clock()).reserve() == 1000.0
    assert json.loads(state.read_text())["slot"] == pytest.approx(1000.2)


def test_each_exchange_has_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_state("https://one").parent == tmp_path / "blofin"
    assert default_state("https://one") != default_state("https://two")
