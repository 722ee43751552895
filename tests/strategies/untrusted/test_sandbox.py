"""The child gives a verdict, loses its rights first, and is killed when it does not come back."""

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from features.market import Market, example_market
from strategies.registry import LIBRARY
from strategies.untrusted import sandbox
from strategies.untrusted.compiler import compile_strategy
from strategies.untrusted.sandbox import Limits, first_evaluation

GOOD = (LIBRARY / "ema_crossover.py").read_text()
MEMORY = GOOD.replace("up = crossed_above(fast, slow)", "up = (f.close > 99) & (f.close < 101)")


@pytest.fixture(scope="module")
def market() -> Market:
    return example_market(4_000)


@pytest.mark.slow
def test_a_good_text_is_accepted(market: Market) -> None:
    got = first_evaluation(GOOD, market)
    assert got.accepted, got.reason
    assert (got.name, got.version) == ("ema_crossover", compile_strategy(GOOD).version)
    assert got.entries["5m"] > 0
    assert got.network in {True, False}


def test_a_text_that_is_no_strategy_or_knows_prices_is_refused(market: Market) -> None:
    got = first_evaluation(GOOD.replace("return Signal", "import os\n        return Signal"), market)
    assert not got.accepted
    assert "Import" in got.reason
    cheat = first_evaluation(MEMORY, market)
    assert not cheat.accepted
    assert "price memory" in cheat.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(wall_seconds=0.05), r"longer than 0\.05 s"),  # starting the interpreter alone takes longer
        (Limits(cpu_seconds=1, wall_seconds=300), "more than 1 s of processor"),
        (Limits(memory_bytes=200_000_000), "no verdict"),
    ],
)
def test_limits_hold(market: Market, limits: Limits, said: str) -> None:
    big = example_market(150_000) if limits.cpu_seconds == 1 else market
    before = time.monotonic()
    got = first_evaluation(GOOD, big, limits)
    assert not got.accepted
    assert re.search(said, got.reason)
    assert time.monotonic() - before < limits.wall_seconds + 20


def run_without_rights(code: str, folder: Path) -> dict[str, object]:
    """Run code in a child after it has given up its rights, and return what it prints as JSON."""
    head = (
        "from strategies.untrusted.sandbox_child import give_up_rights, give_up_time_and_processes, has_network\n"
        "give_up_rights(2_000_000_000)\ngive_up_time_and_processes(5)\n"
    )
    done = subprocess.run(  # our own interpreter, our own text
        [sys.executable, "-I", "-c", head + textwrap.dedent(code)],
        cwd=folder,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return dict(json.loads(done.stdout))


def test_a_child_without_rights(tmp_path: Path) -> None:
    seen = run_without_rights(
        """
        import json, os, resource, socket, threading
        def tried(action):
            try:
                action()
            except Exception as error:
                return type(error).__name__
            return "done"
        def write():
            with open("written", "wb") as file:
                file.write(b"x")
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        print(json.dumps({
            "environment": [name for name in os.environ if name != "LC_CTYPE"],
            "network": has_network(),
            "connect": tried(lambda: socket.create_connection(("192.0.2.1", 80), timeout=2)),
            "write": tried(write),
            "raise": tried(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1)) if os.getuid() else 1 / 0),
            "memory": tried(lambda: bytearray(3_000_000_000)),
            "ordinary": os.getuid() != 0 or (os.setgid(65534), os.setuid(65534)) == (None, None),
            "thread": tried(lambda: threading.Thread(target=int).start()),
            "process": tried(lambda: os.fork() or os._exit(0)),
        }))
        """,
        tmp_path,
    )
    assert seen["environment"] == []
    assert seen["connect"] != "done"
    assert seen["write"] == "OSError"
    assert seen["raise"] != "done"
    assert seen["memory"] == "MemoryError"
    assert seen["thread"] == "RuntimeError"
    assert seen["process"] == "BlockingIOError"
    if not seen["network"]:
        assert seen["connect"] == "OSError"


BOUND = """
import ctypes, os, sys
if os.getuid() == 0:
    # the limit on processes does not bind root: another real user, without the two rights that lift it
    os.setresuid(65534, 0, 0)
    head, kept = (ctypes.c_uint32 * 2)(0x20080522, 0), 0b110
    assert ctypes.CDLL(None).capset(head, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)) == 0
"""
CROWD = """
import threading, time
for _ in range(120):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print("there", flush=True)
time.sleep(600)
"""
PLAIN = '''class Plain(Strategy):
    """Buy what rose. Edge: none. Fails: always."""

    name = "plain"
    timeframes = ("5m",)

    def detect(self, f):
        return Signal(long_entry=rising(f.returns, 2), time_stop=5)
'''


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False], ids=["code is kept", "code is compiled"])
def test_what_else_the_user_runs_makes_no_difference(
    market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    """An ordinary user, whom the limit on processes binds, has 120 threads elsewhere: a harmless text is accepted."""
    plain_popen = subprocess.Popen

    def bound(command: list[str], **given: Any) -> subprocess.Popen[bytes]:
        place = command.index("-m")
        # as where the kernel has no namespace for an ordinary user: in one of its own the child would count alone
        child = "from strategies.untrusted import sandbox_child as child\nchild.without_network = int\nchild.main()"
        anew = "" if kept else f"os.environ['NUMBA_CACHE_DIR'] = {str(tmp_path)!r}\n"
        main = f"{BOUND}\n{anew}{child}"
        return plain_popen([*command[:place], "-c", main, *command[place + 2 :]], **given)

    crowd = plain_popen([sys.executable, "-I", "-c", BOUND + CROWD], stdout=subprocess.PIPE)
    try:
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == b"there\n"
        monkeypatch.setattr(sandbox.subprocess, "Popen", bound)
        got = first_evaluation(PLAIN if kept else GOOD, market)
    finally:
        crowd.kill()
        crowd.communicate()
    assert got.accepted, got.reason
    assert got.entries["5m"] > 0


def test_a_child_that_hangs_is_killed_with_its_children(
    market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the interpreter starts a process of its own and hangs; neither survives."""
    note = tmp_path / "pids"
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\nsleep 300 &\necho $! $$ > {note}\nwait\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sandbox.sys, "executable", str(fake))
    got = first_evaluation(GOOD, market, Limits(wall_seconds=1))
    assert "killed" in got.reason
    pids = [int(text) for text in note.read_text().split()]
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z" and os.path.exists(f"/proc/{pid}")  # noqa: PTH110  # a process, not a file


@pytest.mark.parametrize("reply", ["yes", "x" * 500, '{"accepted": true}', "[]"])
def test_a_child_that_says_nonsense_is_refused(
    market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: str
) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\necho '{reply}'\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sandbox.sys, "executable", str(fake))
    got = first_evaluation(GOOD, market)
    assert not got.accepted
    assert "no verdict" in got.reason


def test_a_child_that_never_stops_talking_is_stopped(
    market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nwhile :; do echo 0123456789012345678901234567890123456789; done\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sandbox.sys, "executable", str(fake))
    assert not first_evaluation(GOOD, market, Limits(wall_seconds=2)).accepted


def test_a_busy_machine_is_no_reason() -> None:
    # by the clock a text of `cpu_seconds` may take as long as it does with twenty others beside it
    assert Limits().wall_seconds >= 20 * Limits().cpu_seconds
