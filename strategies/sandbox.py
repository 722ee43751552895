"""The first evaluation of untrusted text: in a child process that can do nothing but compute, for a short while.

Belongs here: the parent's side: starting, feeding, timing and killing the child, reading its verdict. Does not belong
here: what the child does (`strategies.sandbox_child`), which text is language at all (`strategies.compiler`).

The compiler already leaves the text no name through which it could reach anything; the child is the second wall, for
what the compiler's authors did not think of. Its limits: CPU seconds, wall-clock seconds, address space, size of any
file it might write (0), open files, no core dump; an empty environment; a session of its own, killed as a group;
and, where the kernel lets an ordinary user have one, a network namespace without interfaces. Where it does not, the
verdict says so. The number of processes is limited too, which does not bind the superuser.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.bars import Timeframe
from features.market import Market

LONGEST_REPLY: Final = 64_000
"""Most bytes that are read from a child."""


@dataclass(frozen=True)
class Limits:
    """What a child may use.

    Attributes
    ----------
    cpu_seconds : int; wall_seconds : float
        Time, including some 2 seconds in which it starts.
    memory_bytes : int
        Address space, that of the libraries included.
    """

    cpu_seconds: int = 20
    wall_seconds: float = 30
    memory_bytes: int = 4_000_000_000


@dataclass(frozen=True)
class Verdict:
    """What came of a first evaluation.

    Attributes
    ----------
    accepted : bool
        Whether the text may be compiled in the parent and ranked.
    reason : str
        Why not; empty where accepted.
    name, version : str
        Of the strategy; empty where refused.
    entries : dict of Timeframe to int
        Bars with an entry signal on each timeframe that it declares.
    network : bool or None
        Whether the child still had a network; None where it did not get so far.
    """

    accepted: bool
    reason: str
    name: str
    version: str
    entries: Mapping[Timeframe, int]
    network: bool | None


def first_evaluation(text: str, market: Market, limits: Limits | None = None, *, seed: int = 0) -> Verdict:
    """Compile and evaluate untrusted text in a child process.

    Parameters
    ----------
    text : str
        One strategy class.
    market : Market
        Candles of every timeframe and funding on which it is evaluated and checked for look-ahead and price memory;
        a few thousand bars suffice.
    limits : Limits, optional
        Of the child.
    seed : int
        Of the checks.

    Returns
    -------
    Verdict
        Never an exception for anything that the text does; within `wall_seconds` and a moment.
    """
    given = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="strategy-") as name:
        folder = Path(name)
        for timeframe, frame in market.candles.items():
            frame.write_ipc(folder / f"candles_{timeframe}.arrow")
        market.funding.write_ipc(folder / "funding.arrow")
        for timeframe, frame in market.predictions.items():
            frame.write_ipc(folder / f"predictions_{timeframe}.arrow")
        order = {
            "text": text,
            "seed": seed,
            "timeframes": list(market.candles),
            "predictions": list(market.predictions),
        }
        (folder / "order.json").write_text(json.dumps(order), encoding="utf-8")
        code, reply = _run(folder, given)
    return _read(code, reply, given)


def _run(folder: Path, limits: Limits) -> tuple[int | None, bytes]:
    """Return the child's exit code (None where it ran out of time) and what it said."""
    numbers = [str(limits.cpu_seconds), str(limits.memory_bytes)]
    child = subprocess.Popen(  # noqa: S603  # our own interpreter and module
        [sys.executable, "-I", "-m", "strategies.sandbox_child", str(folder), *numbers],
        cwd=folder,
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + limits.wall_seconds
    try:
        said = _listen(child, deadline)
        return child.wait(max(0.0, deadline - time.monotonic())), said
    except subprocess.TimeoutExpired:
        return None, b""
    finally:
        _kill_group(child)


def _listen(child: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Return what the child says until it stops, says too much, or its time is over."""
    assert child.stdout is not None  # noqa: S101  # it was asked for
    said = b""
    while len(said) < LONGEST_REPLY:
        ready, _, _ = select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(child.stdout.fileno(), LONGEST_REPLY) if ready else b""
        if not part:
            break
        said += part
    return said


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _read(code: int | None, reply: bytes, limits: Limits) -> Verdict:
    if code is None:
        return _refused(f"it ran longer than {limits.wall_seconds:g} s and was killed")
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return _refused(f"it used more than {limits.cpu_seconds} s of CPU and was killed")
    try:
        said = json.loads(reply)
        return Verdict(
            bool(said["accepted"]),
            str(said["reason"]),
            str(said["name"]),
            str(said["version"]),
            {timeframe: int(count) for timeframe, count in said["entries"].items()},
            said["network"],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return _refused(
            f"its process ended with code {code} and no verdict; probably beyond {limits.memory_bytes} bytes"
        )


def _refused(reason: str) -> Verdict:
    return Verdict(False, reason, "", "", {}, None)
